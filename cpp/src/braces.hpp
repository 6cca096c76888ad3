// Finds ARPAbet in braces, as in "Turn left on {HH AW1 S T AH0 N} Street.".
#pragma once

#include <cstddef>
#include <vector>

#include "unicode.hpp"

namespace tacoglow {

// Offsets in a text: the first character, and one past the last.
struct Span {
  std::size_t start, stop;
};

// Returns each group with its braces: from an opening brace to the first closing one that leaves at least one character
// between them.
std::vector<Span> brace_groups(View text);

}  // namespace tacoglow
