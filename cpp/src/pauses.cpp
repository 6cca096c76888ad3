#include "pauses.hpp"

#include <algorithm>

#include "decimal.hpp"
#include "error.hpp"
#include "unicode.hpp"

namespace tacoglow {
namespace {

constexpr std::size_t most_spaces = 8;      // between "[pause" or "[pause:" and the length
constexpr std::size_t longest_length = 20;  // characters of the length

bool is_space(char32_t character) { return character == U' ' || (character >= U'\t' && character <= U'\r'); }
bool is_digit(char32_t character) { return character >= U'0' && character <= U'9'; }
char32_t lower(char32_t character) {
  return character >= U'A' && character <= U'Z' ? character - U'A' + U'a' : character;
}

bool starts_with(View text, View ascii) {
  return text.size() >= ascii.size() &&
         std::equal(ascii.begin(), ascii.end(), text.begin(), [](char32_t a, char32_t b) { return a == lower(b); });
}

// A mark [pause LENGTH] or [pause:LENGTH] at the beginning of a text.
struct Mark {
  std::size_t size = 0;  // characters; 0: the text does not begin with a mark
  View length;
};

Mark find_mark(View text) {
  constexpr View opening = U"[pause";
  if (!starts_with(text, opening)) return {};
  const bool has_colon = text.substr(opening.size(), 1) == U":";
  const std::size_t separated = opening.size() + (has_colon ? 1 : 0);
  std::size_t first = separated;
  while (first < text.size() && is_space(text[first])) ++first;
  const std::size_t spaces = first - separated;
  if ((spaces < 1 && !has_colon) || spaces > most_spaces || first == text.size()) return {};
  if (!is_digit(text[first]) && View(U".+-").find(text[first]) == View::npos) return {};
  const std::size_t stop = text.find_first_of(U"[]", first);
  if (stop == View::npos || text[stop] != U']' || stop - first > longest_length) return {};
  return {stop + 1, text.substr(first, stop - first)};
}

// Returns the seconds of "0.5s", "500ms" or "0.5"; negative for anything else.
double parse_length(View length) {
  std::string number;
  std::size_t i = 0;
  bool has_digits = false;
  for (bool has_point = false; i < length.size(); ++i) {
    if (length[i] == U'.' && !has_point)
      has_point = true;
    else if (is_digit(length[i]))
      has_digits = true;
    else
      break;
    number += static_cast<char>(length[i]);
  }
  while (i < length.size() && is_space(length[i])) ++i;
  const bool is_ms = starts_with(length.substr(i), U"ms");
  if (is_ms || starts_with(length.substr(i), U"s")) i += is_ms ? 2 : 1;
  while (i < length.size() && is_space(length[i])) ++i;
  if (!has_digits || i < length.size()) return -1.0;
  const double seconds = parse_decimal(number);
  return is_ms ? seconds / 1000.0 : seconds;
}

double seconds_of(View length) {
  const double seconds = parse_length(length);
  if (!(seconds >= 0.0 && seconds <= pause_max))
    throw request_error("text: '[pause " + to_utf8(length) +
                        "]': expected 0 to 10 seconds, as in [pause 0.5s] or [pause 500ms]");
  return seconds;
}

}  // namespace

Text PausedText::text() const {
  Text text;
  for (std::size_t i = 0; i < parts.size(); ++i) (text += i == 0 ? U"" : U" ") += parts[i].text;
  return text;
}

PausedText split_at_pauses(View text, const TextTables& tables) {
  std::vector<PausedPart> parts;
  std::size_t done = 0;
  for (std::size_t open = text.find(U'['); open != View::npos; open = text.find(U'[', open)) {
    const Mark mark = find_mark(text.substr(open));
    if (mark.size == 0) {
      ++open;
      continue;
    }
    parts.push_back({Text(text.substr(done, open - done)), seconds_of(mark.length)});
    done = open += mark.size;
  }
  parts.push_back({Text(text.substr(done)), 0.0});
  if (parts.size() == 1) return {0.0, std::move(parts)};
  return join_silent_parts(0.0, parts, tables);
}

PausedText join_silent_parts(double before, const std::vector<PausedPart>& parts, const TextTables& tables) {
  PausedText joined;
  joined.before = before;
  for (const PausedPart& part : parts) {
    if (std::any_of(part.text.begin(), part.text.end(), [&](char32_t c) { return tables.alphanumeric.contains(c); })) {
      joined.parts.push_back(part);
    } else if (!joined.parts.empty()) {  // such as the full stop in "Wait [pause 1s]."
      PausedPart& last = joined.parts.back();
      while (!last.text.empty() && tables.whitespace.contains(last.text.back())) last.text.pop_back();
      last.text += tables.strip(part.text);
      last.pause = last.pause ? *last.pause + part.pause.value_or(0.0) : part.pause;
    } else {
      joined.before += part.pause.value_or(0.0);
    }
  }
  return joined;
}

}  // namespace tacoglow
