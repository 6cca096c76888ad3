// Writes numbers in words, by the rules of Python's text/numbers.py.
#pragma once

#include <string>
#include <string_view>

#include "text_tables.hpp"

namespace tacoglow {

// Writes the amounts, decimals, ordinals and numbers of a lower-case text in words.
std::u32string normalize_numbers(std::u32string_view text, const NumberWords& words);

}  // namespace tacoglow
