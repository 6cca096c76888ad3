#include "mel.hpp"

#include <algorithm>

namespace tacoglow {

Tensor MelView::window(std::int64_t first, std::int64_t last, std::int64_t min_frames) const {
  const std::int64_t frames = std::max(last - first, min_frames);
  Tensor tensor(DType::float32, {1, n_channels, frames});
  auto* target = tensor.as<float>();
  for (std::int64_t channel = 0; channel < n_channels; ++channel)
    for (std::int64_t i = 0; i < frames; ++i) *target++ = frame(std::min(first + i, last - 1))[channel];
  return tensor;
}

}  // namespace tacoglow
