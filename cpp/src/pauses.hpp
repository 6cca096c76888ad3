// Pauses written into a text, such as "One. [pause 0.5s] Two.", by the rules of Python's text/pauses.py.
#pragma once

#include <optional>
#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

constexpr double pause_max = 10.0;  // seconds of one pause

// A part of a text, and how it is spoken.
struct PausedPart {
  Text text;
  std::optional<double> pause;  // seconds of silence after it; none: what the punctuation at its end asks for
  double rate = 1, volume = 1;  // times the request's
};

struct PausedText {
  double before = 0;  // seconds of silence before the first part
  std::vector<PausedPart> parts;

  Text text() const;  // what is left to speak
};

// Throws Error (request) for a mark that does not say from 0 to 10 seconds.
PausedText split_at_pauses(View text, const TextTables& tables);

// Joins parts without a letter or digit, and their pauses, to the part before; of the first ones only pauses remain.
PausedText join_silent_parts(double before, const std::vector<PausedPart>& parts, const TextTables& tables);

}  // namespace tacoglow
