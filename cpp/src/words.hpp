// Finds which tokens speak each word of a text, although cleaners rewrite it, as in Python's text/words.py.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tacoglow {

// A word as it is written, and its tokens [first, stop); none: an empty range.
struct SpokenWord {
  std::string text;  // UTF-8
  std::int64_t first, stop;
};

// Converts a part of a text to ids.
using EncodePart = std::function<std::vector<std::int32_t>(std::u32string_view part)>;

// Returns the words of a text, in order, with their tokens among `ids`. text: with its whitespace collapsed. is_letter:
// by id, true for letters, digits and phones.
std::vector<SpokenWord> find_words(std::u32string_view text, const std::vector<std::int32_t>& ids,
                                   const std::vector<bool>& is_letter, const EncodePart& encode);

}  // namespace tacoglow
