// Judges an utterance by its attention: was every word said, once, and nothing else? The same judgement as in Python's
// runtime/quality.py, which says what each fault means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tacoglow.h"
#include "words.hpp"

namespace tacoglow {

// How much each frame attends to each token.
struct Alignment {
  const float* weights;  // [steps, n_tokens]
  std::int64_t n_frames, n_tokens;
  std::int64_t frames_per_step;  // they share a row

  const float* row(std::int64_t frame) const { return weights + frame / frames_per_step * n_tokens; }
};

// A fault of an utterance and the tokens that it concerns, [first, stop); none for babble after the end.
struct Fault {
  tacoglow_fault_reason reason;
  std::int64_t first, stop;
};

// A fault as a user reads it.
struct SpeechFault : Fault {
  std::vector<std::string> words;  // those concerned, as they are written
};

// Returns the faults of an utterance, in the order of their tokens. alignment: of the frames before the utterance's
// end. is_cut_off: the frame limit ended it. audible [n_tokens]: true for letters and phones, false for spaces and
// punctuation.
std::vector<Fault> judge(const Alignment& alignment, bool is_cut_off, const std::vector<bool>& audible);

// Of several tries at a text of so many tokens, the best one has the least: 0 without faults.
std::int64_t severity(const std::vector<Fault>& faults, std::int64_t n_tokens);

// Names the words that faults concern. words: of the text, with their tokens.
std::vector<SpeechFault> describe(const std::vector<Fault>& faults, const std::vector<SpokenWord>& words);

// Returns the judgement in one line, such as "skipped: brown fox; babble"; "good" without faults.
std::string to_text(const std::vector<SpeechFault>& faults);

}  // namespace tacoglow
