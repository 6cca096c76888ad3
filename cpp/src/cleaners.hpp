// Cleaners: named steps from written text to the characters that a voice was trained on, as in Python's
// text/cleaners.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

using Cleaner = std::u32string (*)(std::u32string_view text, const TextTables& tables);

// Returns the cleaner of this name; nullptr if there is none.
Cleaner find_cleaner(const std::string& name);

// True if one of these cleaners replaces characters beyond ASCII.
bool transliterates(const std::vector<std::string>& cleaner_names);

// Joins the words of a text with single spaces.
std::u32string collapse_and_strip(std::u32string_view text, const TextTables& tables);

}  // namespace tacoglow
