#include "english/spoken.hpp"

namespace tacoglow {

Text English::expand_notations(View given) const {
  Text text = addresses_.expand(transliterate(given));
  text = dates_.expand_times(dates_.expand_dates(text));
  text = word_.replace(View(text), [&](const Match& match) { return look_up(words_.words, Text(match[0])); });
  text = street_.replace(View(text),
                         [&](const Match& match) { return Text(U"Street").append(dates_.kept_stop(match, 1)); });
  text = abbreviation_.replace(View(text), [&](const Match& match) {
    auto [spoken, may_end] = look_up(words_.abbreviations, lower_ascii(match[1]));
    return may_end ? spoken.append(dates_.kept_stop(match, 2)) : spoken;
  });
  text = amounts_.expand(text);
  text = pluses_.replace(View(text), [](const Match&) { return View(U" plus plus "); });
  text = symbol_.replace(View(text), [&](const Match& match) { return look_up(words_.after, match[0][0]); });
  text = space_before_mark_.replace(View(text), [](const Match&) { return View(); });
  if (!given.empty() && tables_.whitespace.contains(given[0])) return text;
  std::size_t first = 0;
  while (first < text.size() && tables_.whitespace.contains(text[first])) ++first;
  return text.erase(0, first);
}

bool English::has_word_for(char32_t character) const {
  return words_.before.count(character) != 0 || words_.after.count(character) != 0 ||
         words_.kept.find(character) != Text::npos;
}

// Returns a text of ASCII and the characters that the rules know. A character without a transliteration becomes a
// space, an accent nothing.
Text English::transliterate(View text) const {
  const Text given = power_.replace(text, [&](const Match& match) {
    Text exponent(U"^");
    for (const char32_t sign : match[0]) exponent += look_up(words_.superscripts, sign);
    return exponent;
  });
  Text result;
  for (const char32_t character : given) add_transliterated(character, result);
  return vulgar_.replace(View(result), [&](const Match& match) {
    const Text whole = tables_.strip(match[1]);
    return (whole.empty() ? whole : whole + U" ") + look_up(words_.vulgar, match[2][0]);
  });
}

void English::add_transliterated(char32_t character, Text& result) const {
  if (character < 0x80 || words_.kept.find(character) != Text::npos) {
    result += character;
  } else if (const auto found = words_.before.find(character); found != words_.before.end()) {
    for (const char32_t part : found->second)
      if (words_.before.count(part) == 0) add_transliterated(part, result);
  } else {
    const std::string& ascii = tables_.transliterate(character);
    result.append(ascii.begin(), ascii.end());
    if (ascii.empty() && !tables_.silent.contains(character)) result += U' ';
  }
}

}  // namespace tacoglow
