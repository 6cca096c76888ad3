#include "english/numerals.hpp"

#include <algorithm>
#include <string>

namespace tacoglow {
namespace {

constexpr std::size_t longest_named = 15;  // digits: nobody follows the name of a longer number

}  // namespace

std::int64_t to_number(View digits) {
  std::int64_t number = 0;
  for (const char32_t digit : digits) number = 10 * number + static_cast<std::int64_t>(digit - U'0');
  return number;
}

Text to_text(std::int64_t number) {
  const std::string digits = std::to_string(number);
  return Text(digits.begin(), digits.end());
}

Text without(View text, char32_t unwanted) {
  Text result(text);
  result.erase(std::remove(result.begin(), result.end(), unwanted), result.end());
  return result;
}

Numerals::Numerals(const TextTables& tables)
    : tables_(tables), words_(tables.english), grouped_(tables.pattern("numerals.grouped")), speller_(tables.numbers) {}

// A comma groups thousands if three digits follow it, and is a decimal comma otherwise. So do two full stops and more.
std::optional<std::pair<Text, Text>> Numerals::parse(View number) const {
  const std::size_t point = number.find(U'.'), comma = number.find(U',');
  const auto commas = std::count(number.begin(), number.end(), U',');
  if (commas == 0 && std::count(number.begin(), number.end(), U'.') > 1)
    return std::pair{without(number, U'.'), Text()};
  if (point != View::npos && point > 0 && comma != View::npos && point < comma && commas == 1)  // as in most of Europe
    return std::pair{without(number.substr(0, comma), U'.'), without(number.substr(comma + 1), U'.')};
  const View whole = number.substr(0, point);
  const View fraction = point == View::npos ? View() : number.substr(point + 1);
  if (commas == 0) return std::pair{Text(whole), Text(fraction)};
  if (whole.find(U',') == View::npos) return std::pair{Text(whole), Text(fraction)};
  if (grouped_.full_match(whole)) return std::pair{without(whole, U','), Text(fraction)};
  const View after = whole.substr(comma + 1);
  if (after.find(U',') != View::npos || !fraction.empty()) return std::nullopt;
  return std::pair{Text(whole.substr(0, comma)), Text(after)};
}

Text Numerals::cardinal(View digits, bool is_grouped) const {
  if ((digits.size() > 1 && digits[0] == U'0') || digits.size() > (is_grouped ? longest_number : longest_named))
    return digit_by_digit(digits);
  return without(speller_.cardinal(digits, U""), U',');
}

Text Numerals::cardinal(std::int64_t number) const { return cardinal(View(to_text(number))); }

Text Numerals::decimal(View whole, View fraction, bool is_grouped) const {
  if (fraction.empty()) return cardinal(whole, is_grouped);
  const Text before = whole.empty() ? Text() : cardinal(whole, is_grouped) + U" ";
  return before + U"point " + digit_by_digit(fraction);
}

Text Numerals::ordinal(View digits) const { return without(speller_.ordinal(significant(digits), U""), U','); }

Text Numerals::year(View digits) const {
  const std::int64_t number = to_number(digits);
  if (number <= 1000 || number >= 3000 || (number % 1000 < 10 && number >= 2000) || number % 1000 == 0)
    return cardinal(digits);
  return speller_.in_pairs(digits);
}

Text Numerals::decade(View digits) const {
  const Text spoken = digits.size() == 4 ? year(digits) : cardinal(digits);
  if (!spoken.empty() && spoken.back() == U'y') return spoken.substr(0, spoken.size() - 1) + U"ies";
  return spoken + (!spoken.empty() && spoken.back() == U'x' ? U"es" : U"s");
}

Text Numerals::fraction(View numerator, View denominator) const {
  const std::int64_t top = to_number(numerator), bottom = to_number(denominator);
  const auto known = words_.denominators.find(bottom);
  const EnglishTables::Unit named = known != words_.denominators.end()
                                        ? known->second
                                        : EnglishTables::Unit{ordinal(denominator), ordinal(denominator) + U"s"};
  return cardinal(top) + U" " + (top == 1 ? named.one : named.many);
}

Text Numerals::apart(const Match& match, View spoken) const {
  const View text = match.text();
  const bool before = match.start() > 0 && tables_.alphanumeric.contains(text[match.start() - 1]);
  const bool after = match.end() < text.size() && tables_.alphanumeric.contains(text[match.end()]);
  return Text(before ? U" " : U"").append(spoken) + (after ? U" " : U"");
}

}  // namespace tacoglow
