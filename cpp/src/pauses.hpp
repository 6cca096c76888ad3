// Pauses written into a text, such as "One. [pause 0.5s] Two.", by the rules of Python's text/pauses.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

// A part of a text between two pauses.
struct PausedPart {
  std::u32string text;
  double pause = 0;  // seconds of silence after it
};

struct PausedText {
  double before = 0;  // seconds of silence before the first part
  std::vector<PausedPart> parts;
};

// Throws Error (request) for a mark that does not say from 0 to 10 seconds.
PausedText split_at_pauses(std::u32string_view text, const TextTables& tables);

}  // namespace tacoglow
