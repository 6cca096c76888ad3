// Line breaks, by the rules of Python's text/lines.py: one ends a sentence and a blank line a paragraph, but those of
// wrapped text do not.
#pragma once

#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

struct Line {
  View text;
  bool ends_paragraph;
};

// Collapses whitespace: every run of it becomes a space, a line break, or two for a paragraph's end; the ends have
// none.
Text collapse_lines(View text, const TextTables& tables);

// Returns the lines of a collapsed text.
std::vector<Line> split_lines(View collapsed);

}  // namespace tacoglow
