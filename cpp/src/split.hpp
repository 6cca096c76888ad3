// Splits long text into pieces that a voice can speak one at a time, by the rules of Python's text/split.py.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

using CountTokens = std::function<std::int64_t(std::u32string_view piece)>;

// text: with its whitespace collapsed. Joined in order, the pieces give the complete text. Throws Error (request) if a
// brace group or a single character exceeds max_tokens.
std::vector<std::u32string> split_text(std::u32string_view text, std::int64_t max_tokens,
                                       const CountTokens& count_tokens, const TextTables& tables);

}  // namespace tacoglow
