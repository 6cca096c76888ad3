#include "pieces.hpp"

#include <algorithm>

namespace tacoglow {

void apply_fades(float* samples, std::size_t n_samples, double fade_seconds, std::int64_t sampling_rate, bool fade_in,
                 bool fade_out) {
  const auto length = std::min(static_cast<std::size_t>(fade_seconds * static_cast<double>(sampling_rate)), n_samples);
  const auto gain = [&](std::size_t i) {
    return static_cast<float>(static_cast<double>(i) * (1.0 / static_cast<double>(length)));
  };
  for (std::size_t i = 0; fade_in && i < length; ++i) samples[i] *= gain(i);
  for (std::size_t i = 0; fade_out && i < length; ++i) samples[n_samples - 1 - i] *= gain(i);
}

std::size_t count_silence(double seconds, std::int64_t sampling_rate) {
  return static_cast<std::size_t>(seconds * static_cast<double>(sampling_rate));
}

}  // namespace tacoglow
