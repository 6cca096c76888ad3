// The speech that a caller receives, together with the memory that it points to.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "tacoglow.h"
#include "timestamps.hpp"
#include "utterance.hpp"

namespace tacoglow {

struct OwnedSpeech : tacoglow_speech {
  OwnedSpeech(const Voice& voice, Speech&& speech);  // if it throws, `speech` is unchanged
  OwnedSpeech(const OwnedSpeech&) = delete;          // the caller's structure points into this one
  OwnedSpeech& operator=(const OwnedSpeech&) = delete;

 private:
  // Lists that the caller's utterance points to.
  struct Listed {
    std::vector<std::vector<const char*>> words;  // of each fault
    std::vector<tacoglow_fault> faults;
    std::string quality;
    SpokenTimes times;
    std::vector<tacoglow_timed_text> timed_words, timed_tokens;
  };

  static void list_faults(const Utterance& utterance, Listed& listed);
  static void list_times(const Voice& voice, const Utterance& utterance, Listed& listed);

  Speech owned_;
  std::deque<Listed> listed_;  // of each utterance
  std::vector<tacoglow_utterance> utterances_;
  std::string quality_;
};

}  // namespace tacoglow
