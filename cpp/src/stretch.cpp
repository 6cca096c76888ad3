#include "stretch.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tacoglow {

std::int64_t stretched_frames(std::int64_t frames, double rate) {
  return std::max(static_cast<std::int64_t>(std::floor(static_cast<double>(frames) / rate + 0.5)),
                  std::min<std::int64_t>(frames, 1));
}

std::int64_t frames_needed(std::int64_t stretched, double rate) {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(stretched - 1) * rate)) + 1;
}

void stretch(const Mel& mel, double rate, std::int64_t stop, Mel& stretched) {
  const std::int64_t done = stretched.n_frames, last = mel.n_frames - 1;
  if (stop <= done) return;
  Mel grown{mel.n_channels, stop, {}};
  grown.values.reserve(static_cast<std::size_t>(mel.n_channels * stop));
  for (std::int64_t channel = 0; channel < mel.n_channels; ++channel) {
    const float *row = mel.values.data() + channel * mel.n_frames, *before = stretched.values.data() + channel * done;
    grown.values.insert(grown.values.end(), before, before + done);
    for (std::int64_t j = done; j < stop; ++j) {
      const double position = std::min(static_cast<double>(j) * rate, static_cast<double>(last));
      const auto left = static_cast<std::int64_t>(position), right = std::min(left + 1, last);
      const double weight = position - static_cast<double>(left);  // in float64, so that the sum rounds once
      grown.values.push_back(static_cast<float>(static_cast<double>(row[left]) * (1.0 - weight) +
                                                static_cast<double>(row[right]) * weight));
    }
  }
  stretched = std::move(grown);
}

}  // namespace tacoglow
