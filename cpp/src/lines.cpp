#include "lines.hpp"

namespace tacoglow {
namespace {

constexpr std::size_t wrapped_width = 55;  // characters: a longer line that goes on in lower case was wrapped
constexpr View marks = U".!?\u2026:;";
constexpr View breaks = U"\n\r\v\f\x1c\x1d\x1e\u0085\u2028";
constexpr char32_t paragraph_break = U'\u2029';

// Counts the line breaks of a run of whitespace; a paragraph's counts as two.
std::size_t count_breaks(View space) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < space.size(); ++i) {
    if (space[i] == paragraph_break) count += 2;
    if (breaks.find(space[i]) == View::npos) continue;
    ++count;
    if (space[i] == U'\r' && space.substr(i + 1, 1) == U"\n") ++i;
  }
  return count;
}

}  // namespace

Text collapse_lines(View text, const TextTables& tables) {
  Text result;
  std::size_t column = 0;  // characters since the last line break
  for (std::size_t i = 0; i < text.size();) {
    std::size_t word = i;
    while (word < text.size() && tables.whitespace.contains(text[word])) ++word;
    if (word == text.size()) break;
    std::size_t stop = word;
    while (stop < text.size() && !tables.whitespace.contains(text[stop])) ++stop;
    const std::size_t n_breaks = count_breaks(text.substr(i, word - i));
    View gap;
    if (word > i && !result.empty()) {
      const bool is_wrapped =
          column >= wrapped_width && tables.lowercase.contains(text[word]) && marks.find(result.back()) == View::npos;
      gap = n_breaks > 1 ? U"\n\n" : n_breaks == 1 && !is_wrapped ? U"\n" : U" ";
    }
    column = stop - word + (n_breaks > 0 ? 0 : column + gap.size());
    result += gap;
    result += text.substr(word, stop - word);
    i = stop;
  }
  return result;
}

std::vector<Line> split_lines(View collapsed) {
  std::vector<Line> lines;
  for (std::size_t start = 0;;) {
    const std::size_t end = collapsed.find(U'\n', start);
    if (end == View::npos) {
      lines.push_back({collapsed.substr(start), false});
      return lines;
    }
    const bool ends_paragraph = collapsed.substr(end + 1, 1) == U"\n";
    lines.push_back({collapsed.substr(start, end - start), ends_paragraph});
    start = end + (ends_paragraph ? 2 : 1);
  }
}

}  // namespace tacoglow
