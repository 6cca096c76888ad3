#include "postnet.hpp"

#include <algorithm>

namespace tacoglow {

void Postnet::advance(std::int64_t n_frames, bool is_last) {
  const std::int64_t done = mel_.n_frames(), ready = is_last ? n_frames : n_frames - postnet_frames_;
  if (ready <= done) return;
  const std::int64_t first = std::max<std::int64_t>(0, done - postnet_frames_), width = n_frames - first;
  const std::int64_t padded = window_size(backend_.window_sizes("postnet"), width);
  Tensors inputs;
  inputs["mel"] = decoded_.mel.view().window(first, n_frames, padded);
  Tensor& lengths = inputs["mel_lengths"] = Tensor(DType::int32, {1});
  *lengths.as<std::int32_t>() = static_cast<std::int32_t>(width);
  const Tensors outputs = backend_.run("postnet", inputs);
  const float* rows = outputs.at("mel_postnet").as<float>();  // [n_channels, padded]
  for (std::int64_t i = done - first; i < ready - first; ++i)
    for (std::int64_t channel = 0; channel < mel_.n_channels(); ++channel) mel_.append(rows[channel * padded + i]);
}

}  // namespace tacoglow
