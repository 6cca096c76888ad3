// Digits in words, by the rules of Python's text/english/numerals.py: a number is read by itself, without the oddities
// of the published voices' texts.
#pragma once

#include <optional>
#include <utility>

#include "number_speller.hpp"

namespace tacoglow {

class Numerals {
 public:
  explicit Numerals(const TextTables& tables);

  // The digits before and after the decimal mark of a written number; none: it is a list, such as 1,2,3.
  std::optional<std::pair<Text, Text>> parse(View number) const;

  // A whole number of any length; one with leading zeros, or too long for a name, is read digit by digit.
  Text cardinal(View digits, bool is_grouped = false) const;
  Text cardinal(std::int64_t number) const;

  Text decimal(View whole, View fraction, bool is_grouped = false) const;
  Text digit_by_digit(View digits) const { return speller_.digit_by_digit(digits); }
  Text ordinal(View digits) const;
  Text year(View digits) const;    // of four digits
  Text decade(View digits) const;  // of four digits, or of two
  Text fraction(View numerator, View denominator) const;

  // Keeps words apart from the letters beside what they replace, as in "B2B".
  Text apart(const Match& match, View spoken) const;

 private:
  const TextTables& tables_;
  const EnglishTables& words_;
  const Pattern& grouped_;
  NumberSpeller speller_;
};

// The value of at most 9 ASCII digits.
std::int64_t to_number(View digits);

Text to_text(std::int64_t number);

Text without(View text, char32_t unwanted);

}  // namespace tacoglow
