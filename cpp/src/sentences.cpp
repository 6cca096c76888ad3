#include "sentences.hpp"

namespace tacoglow {
namespace {

using View = std::u32string_view;

constexpr View closers = U"\"'\u201D\u2019\u00BB)]";
constexpr View marks = U".!?\u2026";
constexpr View full_width_marks = U"\u3002\uFF01\uFF1F";
constexpr View full_width_closers = U"\u300D\u300F";
constexpr View full_width_clause_marks = U"\uFF0C\u3001\uFF1B\uFF1A";
constexpr char32_t em_dash = U'\u2014';

bool is_in(char32_t character, View set) { return set.find(character) != View::npos; }

std::size_t skip(View text, std::size_t at, std::size_t stop, View set) {
  while (at < stop && is_in(text[at], set)) ++at;
  return at;
}

bool is_letter(char32_t c) { return (c >= U'A' && c <= U'Z') || (c >= U'a' && c <= U'z'); }

bool is_initial(View word) { return word.size() == 1 && word[0] >= U'A' && word[0] <= U'Z'; }

// True for letters with full stops between them, such as "e.g".
bool is_dotted(View word) {
  if (word.size() < 3 || word.size() % 2 == 0) return false;
  for (std::size_t i = 0; i < word.size(); ++i)
    if (i % 2 == 0 ? !is_letter(word[i]) : word[i] != U'.') return false;
  return true;
}

// Returns the word that ends at `stop`, without the quotes and brackets before it: "Mr" of "(Mr.".
View word_before(View text, std::size_t stop, const TextTables& tables) {
  const std::size_t space = text.substr(0, stop).rfind(U' ');
  std::size_t start = space == View::npos ? 0 : space + 1;
  while (start < stop && !tables.alphanumeric.contains(text[start])) ++start;
  return text.substr(start, stop - start);
}

// True if the sentence continues after these marks and closers, which look like its end. following: the character after
// the space.
bool continues(View text, Span mark, bool is_closed, char32_t following, const TextTables& tables) {
  const char32_t last = text[mark.stop - 1];
  if (is_closed || mark.stop - mark.start != 1 || last != U'.')
    return tables.lowercase.contains(following) && (is_closed || last == U'.' || last == U'\u2026');
  const View word = word_before(text, mark.start, tables);
  const std::u32string lower = tables.lower(word);
  if (tables.before_number.count(lower) != 0) return tables.digits.contains(following);
  if (tables.after_name.count(lower) != 0) return tables.lowercase.contains(following);
  return tables.before_more.count(lower) != 0 || is_initial(word) || is_dotted(word);
}

}  // namespace

std::vector<std::size_t> sentence_ends(View text, Span span, const TextTables& tables) {
  std::vector<std::size_t> cuts;
  const std::u32string wide_closers = std::u32string(closers) + std::u32string(full_width_closers);
  for (std::size_t i = span.start; i < span.stop;) {
    const std::size_t mark = skip(text, i, span.stop, marks), end = skip(text, mark, span.stop, closers);
    const std::size_t wide = skip(text, i, span.stop, full_width_marks);
    if (mark > i) {
      const bool ends = end < span.stop && text[end] == U' ';
      if (ends && !continues(text, {i, mark}, end > mark, text[end + 1], tables)) cuts.push_back(end);
      i = ends ? end : mark;
    } else if (wide > i) {
      i = skip(text, wide, span.stop, wide_closers);
      if (i < span.stop) cuts.push_back(i);
    } else {
      ++i;
    }
  }
  return cuts;
}

std::vector<std::size_t> clause_ends(View text, Span span, const TextTables&) {
  std::vector<std::size_t> cuts;
  const auto at_space = [&](std::size_t at) { return at < span.stop && text[at] == U' '; };
  for (std::size_t i = span.start; i < span.stop;) {
    const char32_t character = text[i];
    std::size_t end = i;
    if (is_in(character, U",;:") && at_space(skip(text, i + 1, span.stop, closers)))
      end = skip(text, i + 1, span.stop, closers);
    else if (is_in(character, U")]\u2013") && at_space(i + 1))
      end = i + 1;
    else if (character == em_dash)
      end = skip(text, i, span.stop, View(&em_dash, 1));
    else if (character == U'-' && skip(text, i, span.stop, U"-") > i + 1)
      end = skip(text, i, span.stop, U"-");
    else if (is_in(character, full_width_clause_marks))
      end = i + 1;
    if (end > i && end < span.stop) cuts.push_back(end);
    i = end > i ? end : i + 1;
  }
  return cuts;
}

std::vector<std::size_t> word_ends(View text, Span span, const TextTables&) {
  std::vector<std::size_t> cuts;
  for (std::size_t i = span.start + 1; i < span.stop; ++i)
    if (text[i] == U' ') cuts.push_back(i);
  return cuts;
}

std::vector<std::size_t> characters(View, Span span, const TextTables&) {
  std::vector<std::size_t> cuts;
  for (std::size_t i = span.start + 1; i < span.stop; ++i) cuts.push_back(i);
  return cuts;
}

}  // namespace tacoglow
