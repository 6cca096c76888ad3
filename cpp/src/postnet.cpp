#include "postnet.hpp"

#include <algorithm>
#include <utility>

namespace tacoglow {

void Postnet::advance(const Decoded& decoded) {
  const std::int64_t context_frames = decoded.finished ? 0 : manifest_.postnet_frames;
  const std::int64_t done = mel_.n_frames, ready = decoded.frames_decoded - context_frames;
  if (ready <= done) return;
  const std::int64_t first = std::max<std::int64_t>(0, done - manifest_.postnet_frames);
  const Tensor out = run(decoded, first);
  const std::int64_t width = out.shape()[2];
  Mel grown{mel_.n_channels, ready, {}};
  grown.values.reserve(static_cast<std::size_t>(grown.n_channels * ready));
  for (std::int64_t channel = 0; channel < grown.n_channels; ++channel) {
    const float *before = mel_.values.data() + channel * done, *row = out.as<float>() + channel * width;
    grown.values.insert(grown.values.end(), before, before + done);
    grown.values.insert(grown.values.end(), row + (done - first), row + (ready - first));
  }
  mel_ = std::move(grown);
}

// Runs the postnet on frames first .. frames_decoded - 1 -> [1, M, frames_decoded - first].
Tensor Postnet::run(const Decoded& decoded, std::int64_t first) const {
  const std::int64_t frames = decoded.frames_decoded - first, channels = mel_.n_channels;
  Tensors inputs;
  Tensor& mel = inputs["mel"] = Tensor(DType::float32, {1, channels, frames});
  for (std::int64_t frame = 0; frame < frames; ++frame)
    for (std::int64_t channel = 0; channel < channels; ++channel)
      mel.as<float>()[channel * frames + frame] =
          decoded.mel[static_cast<std::size_t>((first + frame) * channels + channel)];
  Tensor& lengths = inputs["mel_lengths"] = Tensor(DType::int32, {1});
  *lengths.as<std::int32_t>() = static_cast<std::int32_t>(frames);
  return std::move(backend_.run("postnet", inputs).at("mel_postnet"));
}

}  // namespace tacoglow
