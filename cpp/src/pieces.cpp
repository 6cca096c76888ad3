#include "pieces.hpp"

#include <algorithm>

namespace tacoglow {

void apply_fades(std::vector<float>& samples, double fade_seconds, std::int64_t sampling_rate, bool fade_in,
                 bool fade_out) {
  const auto length =
      std::min(static_cast<std::size_t>(fade_seconds * static_cast<double>(sampling_rate)), samples.size());
  for (std::size_t i = 0; i < length; ++i) {
    const auto gain = static_cast<float>(static_cast<double>(i) * (1.0 / static_cast<double>(length)));
    if (fade_in) samples[i] *= gain;
  }
  for (std::size_t i = 0; fade_out && i < length; ++i) {
    const auto gain = static_cast<float>(static_cast<double>(i) * (1.0 / static_cast<double>(length)));
    samples[samples.size() - 1 - i] *= gain;
  }
}

std::vector<float> silence(double seconds, std::int64_t sampling_rate) {
  return std::vector<float>(static_cast<std::size_t>(seconds * static_cast<double>(sampling_rate)));
}

}  // namespace tacoglow
