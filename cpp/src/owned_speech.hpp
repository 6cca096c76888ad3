// The speech that a caller receives, together with the memory that it points to.
#pragma once

#include <string>
#include <vector>

#include "tacoglow.h"
#include "utterance.hpp"

namespace tacoglow {

struct OwnedSpeech : tacoglow_speech {
  explicit OwnedSpeech(Speech speech);
  OwnedSpeech(const OwnedSpeech&) = delete;  // the caller's structure points into this one
  OwnedSpeech& operator=(const OwnedSpeech&) = delete;

 private:
  // Lists that the caller's utterance points to.
  struct Listed {
    std::vector<std::vector<const char*>> words;  // of each fault
    std::vector<tacoglow_fault> faults;
    std::string quality;
  };

  static Listed list_faults(const Utterance& utterance);

  Speech owned_;
  std::vector<Listed> listed_;  // of each utterance
  std::vector<tacoglow_utterance> utterances_;
  std::string quality_;
};

}  // namespace tacoglow
