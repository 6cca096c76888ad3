#include "text_tables.hpp"

#include "error.hpp"

namespace tacoglow {
namespace {

constexpr char32_t capital_sigma = U'\u03A3', small_sigma = U'\u03C3', final_sigma = U'\u03C2';

}  // namespace

const std::string& TextTables::transliterate(char32_t character) const {
  static const std::string none;
  auto run = transliteration.upper_bound(character);
  if (run == transliteration.begin()) return none;
  --run;
  const std::size_t index = character - run->first;
  return index < run->second.size() ? run->second[index] : none;
}

// True if this capital sigma follows a cased character and does not precede one, apart from characters that are
// ignored: Unicode's condition Final_Sigma.
bool TextTables::ends_word(View text, std::size_t sigma) const {
  std::size_t before = sigma, after = sigma + 1;
  while (before > 0 && case_ignorable.contains(text[before - 1])) --before;
  while (after < text.size() && case_ignorable.contains(text[after])) ++after;
  return before > 0 && cased.contains(text[before - 1]) && !(after < text.size() && cased.contains(text[after]));
}

Text TextTables::lower(View text) const {
  Text result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t character = text[i];
    if (character < 0x80) {
      result += character >= U'A' && character <= U'Z' ? character + 32 : character;
    } else if (character == capital_sigma) {
      result += ends_word(text, i) ? final_sigma : small_sigma;
    } else {
      const auto found = lower_case.find(character);
      if (found == lower_case.end())
        result += character;
      else
        result += found->second;
    }
  }
  return result;
}

Text TextTables::strip_right(View text) const {
  while (!text.empty() && whitespace.contains(text.back())) text.remove_suffix(1);
  return Text(text);
}

Text TextTables::strip(View text) const {
  while (!text.empty() && whitespace.contains(text.back())) text.remove_suffix(1);
  while (!text.empty() && whitespace.contains(text.front())) text.remove_prefix(1);
  return Text(text);
}

bool TextTables::is_lower(View text) const {
  bool has_lower = false;
  for (const char32_t c : text) {
    if (uppercase.contains(c) || titlecase.contains(c)) return false;
    has_lower = has_lower || lowercase.contains(c);
  }
  return has_lower;
}

bool TextTables::is_upper(View text) const {
  bool has_upper = false;
  for (const char32_t c : text) {
    if (lowercase.contains(c) || titlecase.contains(c)) return false;
    has_upper = has_upper || uppercase.contains(c);
  }
  return has_upper;
}

const Pattern& TextTables::pattern(const std::string& name) const {
  const auto found = patterns.find(name);
  if (found == patterns.end()) throw bundle_error(source + ": lacks the pattern " + name + "; export the voice again");
  return found->second;
}

}  // namespace tacoglow
