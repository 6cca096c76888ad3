// The autoregressive decoder loop: launches chunks of steps until the gate of every item has fired.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend.hpp"
#include "noise.hpp"

namespace tacoglow {

struct DecodeOptions {
  double gate_threshold;    // gate probability above which an utterance ends
  std::int64_t max_frames;  // frame limit, a multiple of frames_per_step
  bool attention_stop;      // also ends when the attention has reached the last token and stays there
};

// The decoded part of one item.
struct Decoded {
  std::vector<float> mel;           // [frames_decoded, n_mel_channels], before the postnet
  std::vector<float> gate_logits;   // [steps]
  std::vector<float> alignment;     // [steps, n_tokens]
  std::int64_t frames_decoded = 0;  // mel_length plus the frames of the step at which the gate fired, if it did
  std::int64_t mel_length = 0;      // frames of the steps before the gate fired
  std::int64_t frames_at_end = 0;   // consecutive frames with the attention on the last token
  bool gate_fired = false;
  bool attention_ended = false;
  bool finished = false;  // true if no more frames will follow
};

struct DecodedItem {
  std::int64_t n_tokens;
  Noise noise;
  DecodeOptions options;
  Decoded decoded;
};

// Returns what a backend decodes the items from; encoded: the encoder's outputs for them.
DecoderInput decoder_input(Tensors encoded, const std::vector<DecodedItem>& items);

// Decodes a batch to its end, into items[i].decoded. Calls on_chunk after every chunk, so that a stream can hand out
// segments. If the gates are read late, the steps after an item's gate fired are dropped, so late reading never changes
// the result. padded_tokens: T of the attention weights.
void decode(DecoderSteps& decoder_steps, const Manifest& manifest, std::int64_t padded_tokens,
            std::vector<DecodedItem>& items, const std::function<void()>& on_chunk);

}  // namespace tacoglow
