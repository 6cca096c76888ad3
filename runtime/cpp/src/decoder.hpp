// The autoregressive decoder loop: launch after launch, until every item's gate has fired.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend.hpp"
#include "noise.hpp"

namespace tacoglow {

struct DecodeOptions {
  double gate_threshold;    // probability above which the gate has fired
  std::int64_t max_frames;  // frame limit, in whole steps
};

// What the loop has made of one item so far.
struct Decoded {
  std::vector<float> mel;           // [frames_decoded, n_mel_channels], before the postnet
  std::int64_t frames_decoded = 0;  // mel_length, plus those of the step at which the gate fired, if it did
  std::int64_t mel_length = 0;      // frames of the steps before the gate fired
  bool gate_fired = false;
  bool finished = false;  // no more frames will come
};

struct DecodedItem {
  Noise noise;
  DecodeOptions options;
  Decoded decoded;
};

// Decode a batch to its end, into items[i].decoded. Calls on_steps after every read, so that a stream can go ahead.
// Where gates are read late, the steps after the one that fired are dropped: reading late only trims, it never changes
// the result.
void decode(DecoderSteps& decoder_steps, const Manifest& manifest, std::vector<DecodedItem>& items,
            const std::function<void()>& on_steps);

}  // namespace tacoglow
