// Finds where a text may be cut, by the rules of Python's text/sentences.py.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "braces.hpp"
#include "text_tables.hpp"

namespace tacoglow {

// Each returns offsets c with span.start < c < span.stop in ascending order, for a text in which every run of
// whitespace is one space.
using FindCuts = std::vector<std::size_t> (*)(std::u32string_view text, Span span, const TextTables& tables);

std::vector<std::size_t> sentence_ends(std::u32string_view text, Span span, const TextTables& tables);
std::vector<std::size_t> clause_ends(std::u32string_view text, Span span, const TextTables& tables);
std::vector<std::size_t> word_ends(std::u32string_view text, Span span, const TextTables& tables);
std::vector<std::size_t> characters(std::u32string_view text, Span span, const TextTables& tables);

}  // namespace tacoglow
