// Splits a text into pieces, by the rules of Python's runtime/pieces.py.

#include <algorithm>
#include <utility>

#include "error.hpp"
#include "lines.hpp"
#include "split.hpp"
#include "ssml.hpp"
#include "text.hpp"

namespace tacoglow {

class TextPieces {
 public:
  TextPieces(const FrontEnd& front_end, const TextOptions& options)
      : front_end_(front_end), tables_(*front_end.tables_), options_(options) {}

  PreparedText prepare(std::string_view given) {
    if (options_.is_ssml) {
      SpokenDocument document = parse_ssml(given, tables_);
      paused_ = std::move(document.text);
      prepared_.remarks = std::move(document.remarks);
    } else {
      paused_ = split_at_pauses(from_utf8(given), tables_);
    }
    if (!options_.lexicon.empty()) {
      const Lexicon lexicon(parse_lexicon(options_.lexicon, tables_), tables_);
      for (PausedPart& part : paused_.parts) part.text = lexicon.apply(part.text);
    }
    const Encoded whole = front_end_.encode_or_throw(paused_.text());
    for (const Text& name : whole.dropped.list()) prepared_.dropped.push_back(to_utf8(name));
    for (auto& remark : front_end_.remarks(whole.ids)) prepared_.remarks.push_back(std::move(remark));
    is_only_ = paused_.parts.size() == 1 && options_.sentence_silence < 0.0;
    const PausedPart& first = paused_.parts.front();
    if (is_only_ && static_cast<std::int64_t>(whole.ids.size()) <= options_.max_tokens &&
        collapse_lines(first.text, tables_).find(U'\n') == Text::npos) {
      prepared_.pieces.push_back(
          {to_utf8(first.text), whole.ids, first.pause.value_or(0.0), paused_.before, first.rate, first.volume});
      return std::move(prepared_);
    }
    for (const PausedPart& line : lines()) add(line);
    auto& pieces = prepared_.pieces;
    if (pieces.empty())
      front_end_.reject(paused_.text(), whole.dropped.list());  // only punctuation, in lines of its own
    if (!paused_.parts.back().pause) pieces.back().pause = 0.0;
    pieces.front().pause_before = paused_.before;
    return std::move(prepared_);
  }

 private:
  // Returns the lines that have a letter or digit, each with the seconds of silence after it. A line without one, such
  // as a row of dashes, is a paragraph's end.
  std::vector<PausedPart> lines() const {
    const Pauses& pauses = tables_.pauses;
    const double sentence =
        options_.sentence_silence >= 0.0 ? options_.sentence_silence : pauses.by_mark.front().second;
    const double paragraph = std::max(sentence, pauses.paragraph);
    std::vector<PausedPart> result;
    for (const PausedPart& part : paused_.parts) {
      const Text collapsed = collapse_lines(part.text, tables_);
      std::vector<Line> spoken;
      bool ended_paragraph = false;
      const std::vector<Line> lines = split_lines(collapsed);
      for (const Line& line : lines) {
        if (has_letter(line.text)) {
          if (!spoken.empty()) spoken.back().ends_paragraph |= ended_paragraph;
          spoken.push_back(line);
          ended_paragraph = false;
        } else {
          ended_paragraph = true;
        }
      }
      if (spoken.empty()) spoken.push_back(lines.back());
      for (const Line& line : spoken)
        result.push_back({Text(line.text), line.ends_paragraph ? paragraph : sentence, part.rate, part.volume});
      result.back().pause = part.pause;
    }
    return result;
  }

  void add(const PausedPart& line) {
    auto& pieces = prepared_.pieces;
    const std::size_t before = pieces.size();
    const auto count = [this](View piece) { return front_end_.count_tokens(piece); };
    const bool is_whole = is_only_ && count(line.text) <= options_.max_tokens;
    const auto parts =
        is_whole ? std::vector<Text>{line.text} : split_text(line.text, options_.max_tokens, count, tables_);
    for (const Text& own : parts) {
      std::vector<std::int32_t> ids = front_end_.encode(View(own)).ids;
      if (front_end_.is_audible(ids))
        pieces.push_back({to_utf8(own), std::move(ids), pause_after(own), 0.0, line.rate, line.volume});
    }
    if (pieces.size() == before)
      (pieces.empty() ? paused_.before : pieces.back().pause) += line.pause.value_or(0.0);
    else if (line.pause)
      pieces.back().pause = *line.pause;
  }

  bool has_letter(View text) const {
    return std::any_of(text.begin(), text.end(), [&](char32_t c) { return tables_.alphanumeric.contains(c); });
  }

  // Returns the seconds of silence that fit the punctuation at the end of a piece; sentence_silence, unless negative,
  // after a sentence, whose marks are the first in the table.
  double pause_after(View piece) const {
    const Pauses& pauses = tables_.pauses;
    const std::size_t last = piece.find_last_not_of(pauses.closing);
    const char32_t end = last == View::npos ? piece.back() : piece[last];
    if (options_.sentence_silence >= 0.0 && pauses.by_mark.front().first.find(end) != Text::npos)
      return options_.sentence_silence;
    for (const auto& [marks, seconds] : pauses.by_mark)
      if (marks.find(end) != Text::npos) return seconds;
    return pauses.within_clause;
  }

  const FrontEnd& front_end_;
  const TextTables& tables_;
  const TextOptions& options_;
  PausedText paused_;
  PreparedText prepared_;
  bool is_only_ = false;
};

PreparedText FrontEnd::prepare(std::string_view text, const TextOptions& options) const {
  return TextPieces(*this, options).prepare(text);
}

}  // namespace tacoglow
