// Writes numbers in words, by the rules of Python's text/numbers.py.
#pragma once

#include "text_tables.hpp"

namespace tacoglow {

// Writes the amounts, decimals, ordinals and numbers of a lower-case text in words.
Text normalize_numbers(View text, const NumberWords& words);

}  // namespace tacoglow
