// Finds where a text may be cut, by the rules of Python's text/sentences.py.
#pragma once

#include <cstddef>
#include <vector>

#include "braces.hpp"
#include "text_tables.hpp"

namespace tacoglow {

// Each returns offsets c with span.start < c < span.stop in ascending order, for a text that collapse_lines returned.
using FindCuts = std::vector<std::size_t> (*)(View text, Span span, const TextTables& tables);

std::vector<std::size_t> sentence_ends(View text, Span span, const TextTables& tables);
std::vector<std::size_t> clause_ends(View text, Span span, const TextTables& tables);
std::vector<std::size_t> word_ends(View text, Span span, const TextTables& tables);
std::vector<std::size_t> characters(View text, Span span, const TextTables& tables);

}  // namespace tacoglow
