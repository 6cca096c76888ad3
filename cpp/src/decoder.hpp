// The autoregressive decoder loop: chunk after chunk of steps, until the gate of every item has fired.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend.hpp"
#include "mel.hpp"
#include "noise.hpp"
#include "tacoglow.h"

namespace tacoglow {

struct DecodeOptions {
  double gate_threshold;            // gate probability above which an utterance ends
  std::int64_t max_frames;          // frame limit, a multiple of frames_per_step
  std::int64_t attention_patience;  // frames with the attention on the last token that end it; 0: no number does
  std::int64_t attention_window;    // tokens ahead of the furthest one that the attention may see; 0: all
  Ending ending;                    // limits its frames by its tokens, unless it is empty

  // Returns the gate logit above which it ends.
  float gate_logit() const;
  // Returns the options of an utterance of so many tokens: with its own frame limit.
  DecodeOptions of(std::int64_t n_tokens, std::int64_t frames_per_step) const;
};

// The decoded part of one item. Its memory is reserved before the first step.
struct Decoded {
  Mel mel;                          // frames_decoded frames, before the postnet
  std::vector<float> gate_logits;   // [steps]
  std::vector<float> alignment;     // [steps, n_tokens]
  std::int64_t frames_decoded = 0;  // mel_length plus the frames of the step at which the gate fired, if it did
  std::int64_t mel_length = 0;      // frames of the steps before the gate fired
  std::int64_t frames_at_end = 0;   // consecutive frames with the attention on the last token
  bool gate_fired = false;
  bool attention_ended = false;
  bool finished = false;  // true if no more frames will follow

  tacoglow_stop_reason stop_reason() const;
};

struct DecodedItem {
  std::int64_t n_tokens;
  Noise noise;
  DecodeOptions options;
  Decoded decoded;

  // Returns the most decoder steps that it can have.
  std::int64_t step_limit(const Manifest& manifest) const { return options.max_frames / manifest.frames_per_step; }
  // Empties `decoded`, with the memory for the item's frame limit.
  void reserve(const Manifest& manifest);
  // Appends one step, unless the item has ended at an earlier one. mel [frames_per_step, n_mel_channels]; attention: at
  // least n_tokens weights.
  void append(const float* mel, float gate_logit, const float* attention, const Manifest& manifest);
};

// Decodes a batch chunk by chunk, into items[i]->decoded. If the gates are read late, the steps after an item's gate
// fired are dropped, so late reading never changes the result. May be abandoned at any time.
class Decoding {
 public:
  // encoded: the encoder's outputs for the items, which must outlive this object, as the references must.
  Decoding(BackendInstance& backend, const Manifest& manifest, Tensors encoded, std::vector<DecodedItem*> items);

  // True until every item has ended.
  bool running() const;

  // Launches as many chunks ahead as may be unread, so that a GPU never waits for the host.
  void launch_ahead();

  // Reads the next chunk, with others launched ahead of it.
  void read_chunk();

 private:
  const Manifest& manifest_;
  std::vector<DecodedItem*> items_;
  std::int64_t padded_tokens_;  // T of the attention weights
  std::unique_ptr<DecoderSteps> steps_;
  std::int64_t step_limit_ = 0;                // of the item with the highest frame limit
  std::int64_t launched_ = 0, in_flight_ = 0;  // in steps; in launches
};

}  // namespace tacoglow
