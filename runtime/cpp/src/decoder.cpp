#include "decoder.hpp"

#include <algorithm>
#include <cmath>

namespace tacoglow {
namespace {

// Take over the frames of one launch, up to the one at which the gate fires or the limit is reached.
void append(Decoded& decoded, const StepLoop::Frames& frames, std::int64_t n, float threshold, std::int64_t max_frames,
            std::int64_t n_mel_channels) {
  for (std::int64_t i = 0; i < n && !decoded.finished; ++i) {
    const float* frame = frames.mel + i * n_mel_channels;
    decoded.mel.insert(decoded.mel.end(), frame, frame + n_mel_channels);
    decoded.frames_decoded += 1;
    decoded.gate_fired = frames.gate_logits[i] > threshold;
    decoded.mel_length += decoded.gate_fired ? 0 : 1;
    decoded.finished = decoded.gate_fired || decoded.frames_decoded == max_frames;
  }
}

}  // namespace

Decoded decode(StepLoop& loop, const Noise& noise, const Manifest& manifest, const DecodeOptions& options,
               const std::function<void(const Decoded&)>& on_frames) {
  const auto threshold = static_cast<float>(std::log(options.gate_threshold / (1.0 - options.gate_threshold)));
  const std::int64_t chunk = loop.frames_per_launch(), units = manifest.prenet_layers * manifest.prenet_dim;
  std::vector<float> dropout(static_cast<std::size_t>(chunk * units));
  Decoded decoded;
  decoded.mel.reserve(static_cast<std::size_t>(std::min<std::int64_t>(options.max_frames, 1024) *
                                               manifest.n_mel_channels));
  std::int64_t launched = 0, in_flight = 0;  // frames, launches
  while (!decoded.finished) {
    for (; in_flight < loop.launches_in_flight() && launched < options.max_frames; ++in_flight, launched += chunk) {
      noise.prenet_dropout(launched, chunk, units, dropout.data());
      loop.launch(dropout.data());
    }
    append(decoded, loop.read(), chunk, threshold, options.max_frames, manifest.n_mel_channels);
    --in_flight;
    on_frames(decoded);
  }
  return decoded;
}

}  // namespace tacoglow
