// When each word and each token is spoken, from the alignment, as in Python's runtime/output/timestamps.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "utterance.hpp"

namespace tacoglow {

// A word, or a character or phone, and when it is spoken.
struct TimedText {
  std::string text;
  double start, end;  // seconds
};

struct SpokenTimes {
  std::vector<TimedText> words;   // as they are written; none of ids
  std::vector<TimedText> tokens;  // phones without their mark
};

// Returns [n_tokens + 1]: token t is spoken from frame bounds[t] to frame bounds[t + 1]. alignment: [n_frames,
// n_tokens]. Of all paths that never go back, it is the one that the attention follows most closely.
std::vector<std::int64_t> token_bounds(const float* alignment, std::int64_t n_frames, std::int64_t n_tokens);

// Returns the times of an utterance, in the samples of its speech or stream.
SpokenTimes time_utterance(const Voice& voice, const Utterance& utterance);

}  // namespace tacoglow
