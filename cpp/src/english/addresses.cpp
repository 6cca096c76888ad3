#include "english/addresses.hpp"

#include <algorithm>

namespace tacoglow {
namespace {

constexpr View after_address = U".,;:!?)]'";  // punctuation of the sentence

bool is_ascii_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

}  // namespace

Text Addresses::expand(View text) const {
  const Text emails = email_.replace(text, [&](const Match& match) { return spell(match[0]); });
  const Text web = web_.replace(View(emails), [&](const Match& match) { return spell(match[1]); });
  return name_.replace(View(web), [&](const Match& match) {
    // A name that is not an address by its form alone needs a letter: "3.co" is a number.
    const View name = match[0], first = name.substr(0, name.find(U'.'));
    const bool has_letter =
        std::any_of(first.begin(), first.end(), [&](char32_t c) { return tables_.alphabetic.contains(c); });
    return has_letter ? spell(name) : Text(name);
  });
}

Text Addresses::spell(View address) const {
  const std::size_t last = address.find_last_not_of(after_address);
  const View name = address.substr(0, last == View::npos ? 0 : last + 1);
  const std::size_t before_slashes = name.find_last_not_of(U'/');
  Text spoken;
  token_.for_each(before_slashes == View::npos ? name : name.substr(0, before_slashes + 1), 0, [&](const Match& match) {
    (spoken += spoken.empty() ? U"" : U" ") += spell_token(match[0]);
    return true;
  });
  return spoken += address.substr(name.size());
}

Text Addresses::spell_token(View token) const {
  if (!is_ascii_digit(token[0])) {
    const auto sign = tables_.english.address_signs.find(Text(token));
    return sign == tables_.english.address_signs.end() ? Text(token) : sign->second;
  }
  if (token[0] == U'0' || token.size() > 4) return numerals_.digit_by_digit(token);
  return token.size() == 4 ? numerals_.year(token) : numerals_.cardinal(token);
}

}  // namespace tacoglow
