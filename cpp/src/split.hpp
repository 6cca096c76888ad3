// Splits long text into pieces that a voice can speak one at a time, by the rules of Python's text/split.py.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

using CountTokens = std::function<std::int64_t(View piece)>;

// text: a line that collapse_lines returned. Joined in order, the pieces give the complete text. Throws Error (request)
// if a brace group or a single character exceeds max_tokens.
std::vector<Text> split_text(View text, std::int64_t max_tokens, const CountTokens& count_tokens,
                             const TextTables& tables);

}  // namespace tacoglow
