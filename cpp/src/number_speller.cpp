#include "number_speller.hpp"

namespace tacoglow {
namespace {

std::size_t value(char32_t digit) { return digit - U'0'; }

}  // namespace

View significant(View digits) {
  const std::size_t first = digits.find_first_not_of(U'0');
  return first == View::npos ? View(U"0") : digits.substr(first);
}

Text join(const std::vector<Text>& parts, View separator) {
  Text result;
  for (const auto& part : parts) (result += result.empty() ? View() : separator) += part;
  return result;
}

Text NumberSpeller::cardinal(View digits, const Text& and_word) const {
  if (digits == U"0") return U"zero";
  const Text link = and_word.empty() ? U" " : U" " + and_word + U" ";
  const Text padded = Text((3 - digits.size() % 3) % 3, U'0') + Text(digits);
  Text result;
  for (std::size_t i = 0; i < padded.size(); i += 3) {
    const Text rest = below_hundred(padded[i + 1], padded[i + 2]);
    const std::size_t power = padded.size() / 3 - 1 - i / 3;
    const bool has_hundreds = padded[i] != U'0';
    if (!has_hundreds && rest.empty()) continue;
    if (!result.empty()) result += power == 0 && !has_hundreds ? link : Text(U", ");
    if (has_hundreds) result += words_.units[value(padded[i])] + U" hundred" + (rest.empty() ? U"" : link);
    result += rest;
    if (power > 0) result += U" " + words_.powers[power];
  }
  return result;
}

Text NumberSpeller::ordinal(View digits, const Text& and_word) const {
  if (digits.size() > longest_number) {
    const std::size_t last = digits.size() - 1;
    return digit_by_digit(digits.substr(0, last)) + U" " + ordinal(digits.substr(last), and_word);
  }
  const Text spoken = cardinal(digits, and_word);
  for (const auto& [ending, replacement] : words_.ordinals)
    if (spoken.size() >= ending.size() && spoken.compare(spoken.size() - ending.size(), ending.size(), ending) == 0)
      return spoken.substr(0, spoken.size() - ending.size()) + replacement;
  return spoken + U"th";
}

Text NumberSpeller::in_pairs(View digits) const {
  const View rest = digits.substr(2);
  const Text first = below_hundred(digits[0], digits[1]);
  if (rest == U"00") return first + U" hundred";
  return first + (rest[0] == U'0' ? U" oh " : U" ") + below_hundred(rest[0], rest[1]);
}

Text NumberSpeller::digit_by_digit(View digits) const {
  Text spoken;
  for (const char32_t digit : digits)
    (spoken += spoken.empty() ? U"" : U" ") += digit == U'0' ? Text(U"zero") : words_.units[value(digit)];
  return spoken;
}

// Two digits; "" for 00.
Text NumberSpeller::below_hundred(char32_t tens, char32_t units) const {
  if (tens == U'1') return words_.teens[value(units)];
  const Text hyphen = tens != U'0' && units != U'0' ? U"-" : U"";
  return words_.tens[value(tens)] + hyphen + words_.units[value(units)];
}

}  // namespace tacoglow
