// Writes digits in words, as Python's inflect does.
#pragma once

#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

constexpr std::size_t longest_number = 36;  // digits; the largest unit with a word is the decillion

// Strips leading zeros; "0" if there are only zeros.
View significant(View digits);

Text join(const std::vector<Text>& parts, View separator);

class NumberSpeller {
 public:
  explicit NumberSpeller(const NumberWords& words) : words_(words) {}

  // digits: without leading zeros, at most longest_number of them. and_word: between hundreds and the rest; may be "".
  Text cardinal(View digits, const Text& and_word) const;

  // A longer number is read digit by digit.
  Text ordinal(View digits, const Text& and_word) const;

  // Four digits as a year: "nineteen hundred", "nineteen oh five", "twenty twenty-six".
  Text in_pairs(View digits) const;

  Text digit_by_digit(View digits) const;

 private:
  Text below_hundred(char32_t tens, char32_t units) const;

  const NumberWords& words_;
};

}  // namespace tacoglow
