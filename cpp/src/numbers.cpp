#include "numbers.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "number_speller.hpp"

namespace tacoglow {
namespace {

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

std::size_t digits_end(View text, std::size_t start) {
  while (start < text.size() && is_digit(text[start])) ++start;
  return start;
}

// Returns the end of the longest run of digits and `marks` from `start` that ends with a digit; `start` if none does.
std::size_t amount_end(View text, std::size_t start, View marks) {
  std::size_t end = start;
  for (std::size_t i = start; i < text.size() && (is_digit(text[i]) || marks.find(text[i]) != View::npos); ++i)
    if (is_digit(text[i])) end = i + 1;
  return end;
}

bool starts_number(View text, std::size_t i) { return is_digit(text[i]) && (i == 0 || !is_digit(text[i - 1])); }

// Replaces matches from left to right. `match` appends the replacement of a match that begins at an offset and returns
// the match's end, or returns the offset if there is none.
Text replace(View text, const std::function<std::size_t(std::size_t, Text&)>& match) {
  Text result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = match(i, result);
    if (end == i) result += text[i];
    i = std::max(end, i + 1);
  }
  return result;
}

Text without(View text, char32_t unwanted) {
  Text result(text);
  result.erase(std::remove(result.begin(), result.end(), unwanted), result.end());
  return result;
}

// Numbers as english_cleaners read them: any of four digits from 1001 to 2999 is a year.
class Reader {
 public:
  explicit Reader(const NumberWords& words) : speller_(words) {}

  Text number(View digits) const {
    if (digits.size() > longest_number) return speller_.digit_by_digit(digits);
    if (digits.size() == 4 && digits > View(U"1000") && digits < View(U"3000")) return year(digits);
    return speller_.cardinal(digits, U"");
  }

  Text ordinal(View digits) const { return speller_.ordinal(digits, U"and"); }

 private:
  Text year(View digits) const {
    if (digits.substr(0, 3) != U"200") return speller_.in_pairs(digits);
    return digits == U"2000" ? Text(U"two thousand") : U"two thousand " + speller_.digit_by_digit(digits.substr(3));
  }

  NumberSpeller speller_;
};

// "12.05" -> "12 dollars, 5 cents"; an amount with several full stops just gets "dollars" appended.
Text dollars(View amount) {
  const std::size_t point = amount.find(U'.');
  if (point != View::npos && amount.find(U'.', point + 1) != View::npos) return Text(amount) + U" dollars";
  std::vector<Text> spoken;
  const auto add = [&](View part, const Text& unit) {
    const Text digits = without(part, U',');
    const View count = significant(digits);
    if (count != U"0") spoken.push_back(Text(count) + U" " + unit + (count == U"1" ? U"" : U"s"));
  };
  add(amount.substr(0, point), U"dollar");
  if (point != View::npos) add(amount.substr(point + 1), U"cent");
  return spoken.empty() ? U"zero dollars" : join(spoken, U", ");
}

bool has_ordinal_suffix(View text, std::size_t at) {
  const View suffix = text.substr(std::min(at, text.size()), 2);
  return suffix == U"st" || suffix == U"nd" || suffix == U"rd" || suffix == U"th";
}

Text strip_grouping(View text) {
  return replace(text, [&](std::size_t i, Text& out) {
    if (!is_digit(text[i])) return i;
    const std::size_t end = amount_end(text, i, U",");
    if (end < i + 3) return i;
    out += without(text.substr(i, end - i), U',');
    return end;
  });
}

Text spell_amounts(View text) {
  const Text pounds = replace(text, [&](std::size_t i, Text& out) {
    const std::size_t end = text[i] == U'\u00A3' ? amount_end(text, i + 1, U",") : i + 1;
    if (end == i + 1) return i;
    out += Text(text.substr(i + 1, end - i - 1)) + U" pounds";
    return end;
  });
  const View spelt = pounds;
  return replace(spelt, [&](std::size_t i, Text& out) {
    const std::size_t end = spelt[i] == U'$' ? amount_end(spelt, i + 1, U".,") : i + 1;
    if (end == i + 1) return i;
    out += dollars(spelt.substr(i + 1, end - i - 1));
    return end;
  });
}

Text spell_decimal_points(View text) {
  return replace(text, [&](std::size_t i, Text& out) {
    if (!starts_number(text, i)) return i;
    const std::size_t point = digits_end(text, i);
    const std::size_t end = point < text.size() && text[point] == U'.' ? digits_end(text, point + 1) : point;
    if (end <= point + 1) return i;
    (out += text.substr(i, point - i)) += U" point ";
    out += text.substr(point + 1, end - point - 1);
    return end;
  });
}

}  // namespace

Text normalize_numbers(View text, const NumberWords& words) {
  const Reader reader(words);
  const Text amounts = spell_decimal_points(spell_amounts(strip_grouping(text)));
  const View with_ordinals = amounts;
  const Text ordinals = replace(with_ordinals, [&](std::size_t i, Text& out) {
    const std::size_t end = starts_number(with_ordinals, i) ? digits_end(with_ordinals, i) : i;
    if (end == i || !has_ordinal_suffix(with_ordinals, end)) return i;
    out += reader.ordinal(significant(with_ordinals.substr(i, end - i)));
    return end + 2;
  });
  const View rest = ordinals;
  return replace(rest, [&](std::size_t i, Text& out) {
    const std::size_t end = digits_end(rest, i);
    if (end > i) out += reader.number(significant(rest.substr(i, end - i)));
    return end;
  });
}

}  // namespace tacoglow
