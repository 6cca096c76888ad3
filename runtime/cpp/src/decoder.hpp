// The autoregressive decoder loop: launch after launch, until the gate has fired.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine.hpp"
#include "noise.hpp"

namespace tacoglow {

struct DecodeOptions {
  double gate_threshold;    // probability above which the gate has fired
  std::int64_t max_frames;  // frame limit
};

struct Decoded {
  std::vector<float> mel;           // [frames_decoded, n_mel_channels], before the postnet
  std::int64_t frames_decoded = 0;  // mel_length, plus the frame at which the gate fired, if it did
  std::int64_t mel_length = 0;      // frames before the gate fired
  bool gate_fired = false;
  bool finished = false;            // no more frames will come
};

// Calls on_frames after every read, so that a stream can go ahead. Where gates are read late, the frames after the
// one that fired are dropped: reading late only trims, it never changes the result.
Decoded decode(StepLoop& loop, const Noise& noise, const Manifest& manifest, const DecodeOptions& options,
               const std::function<void(const Decoded&)>& on_frames);

}  // namespace tacoglow
