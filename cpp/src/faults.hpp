// The judgement on what a voice has decoded.
#pragma once

#include <vector>

#include "decoder.hpp"
#include "quality.hpp"
#include "voice.hpp"

namespace tacoglow {

// Returns the faults of a decoded utterance of these ids. Of a voice whose sentences could not be measured at export,
// the attention says nothing; only its end is judged.
std::vector<Fault> find_faults(const Voice& voice, const std::vector<std::int32_t>& ids, const Decoded& decoded);

// Returns the same with the words of the piece's text that are concerned.
std::vector<SpeechFault> describe_faults(const Voice& voice, const Piece& piece, const Decoded& decoded);

}  // namespace tacoglow
