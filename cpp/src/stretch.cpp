#include "stretch.hpp"

#include <algorithm>
#include <cmath>

namespace tacoglow {

std::int64_t stretched_frames(std::int64_t frames, double rate) {
  return std::max(static_cast<std::int64_t>(std::floor(static_cast<double>(frames) / rate + 0.5)),
                  std::min<std::int64_t>(frames, 1));
}

std::int64_t frames_needed(std::int64_t stretched, double rate) {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(stretched - 1) * rate)) + 1;
}

void stretch(const Mel& mel, double rate, std::int64_t stop, Mel& stretched) {
  const std::int64_t last = mel.n_frames() - 1;
  for (std::int64_t j = stretched.n_frames(); j < stop; ++j) {
    const double position = std::min(static_cast<double>(j) * rate, static_cast<double>(last));
    const auto index = static_cast<std::int64_t>(position);
    const double weight = position - static_cast<double>(index);  // in float64, so that the sum rounds once
    const float *left = mel.frame(index), *right = mel.frame(std::min(index + 1, last));
    for (std::int64_t channel = 0; channel < mel.n_channels(); ++channel)
      stretched.append(static_cast<float>(static_cast<double>(left[channel]) * (1.0 - weight) +
                                          static_cast<double>(right[channel]) * weight));
  }
}

}  // namespace tacoglow
