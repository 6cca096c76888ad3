#include "split.hpp"

#include <algorithm>
#include <utility>

#include "braces.hpp"
#include "error.hpp"
#include "sentences.hpp"
#include "unicode.hpp"

namespace tacoglow {
namespace {

constexpr FindCuts finer_cuts[] = {clause_ends, word_ends, characters};  // tried in turn on spans that are too long

// Splits one text. Spans may start or end with a space; pieces do not.
class Splitter {
 public:
  Splitter(View text, std::int64_t max_tokens, const CountTokens& count_tokens, const TextTables& tables)
      : text_(text),
        max_tokens_(max_tokens),
        count_tokens_(count_tokens),
        tables_(tables),
        groups_(brace_groups(text)) {}

  View piece(Span span) const {
    View part = text_.substr(span.start, span.stop - span.start);
    while (!part.empty() && part.front() == U' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == U' ') part.remove_suffix(1);
    return part;
  }

  // Returns the spans of the pieces, in order and without gaps.
  std::vector<Span> split() const {
    std::vector<Span> spans;
    if (text_.empty()) return spans;
    for (const Span sentence : parts(sentence_ends, {0, text_.size()})) {
      if (count(sentence) <= max_tokens_)
        spans.push_back(sentence);
      else
        cut(sentence, 0, spans);
    }
    return join_silent(spans);
  }

 private:
  // Cuts a span that is too long with the cuts of `level`, and with finer ones if those do not suffice.
  void cut(Span span, std::size_t level, std::vector<Span>& spans) const {
    if (level == std::size(finer_cuts)) reject(span);
    const std::vector<Span> parts = this->parts(finer_cuts[level], span);
    if (parts.size() == 1) return cut(span, level + 1, spans);
    std::size_t fitting = 1;
    for (std::size_t done = 0; done < parts.size(); done += std::max<std::size_t>(fitting, 1)) {
      fitting = how_many_fit(parts, done, std::max<std::size_t>(fitting, 1));
      if (fitting > 0)
        spans.push_back({parts[done].start, parts[done + fitting - 1].stop});
      else
        cut(parts[done], level + 1, spans);
    }
  }

  [[noreturn]] void reject(Span span) const {
    const View part = piece(span);
    throw request_error(std::string("text: the ") + (part.size() > 1 ? "brace group" : "character") + " '" +
                        to_utf8(part.substr(0, 40)) + "' alone has " + std::to_string(count(span)) +
                        " tokens, the limit is " + std::to_string(max_tokens_) + "; shorten it or raise the limit");
  }

  // Counts how many of the parts from `first` fit into one piece: exponential search from `guess`, then bisection. Only
  // a number whose tokens were counted is returned, so the limit holds even if a longer text has fewer tokens.
  std::size_t how_many_fit(const std::vector<Span>& parts, std::size_t first, std::size_t guess) const {
    const auto fits = [&](std::size_t number) {
      return count({parts[first].start, parts[first + number - 1].stop}) <= max_tokens_;
    };
    const std::size_t most = parts.size() - first;
    guess = std::min(guess, most);
    std::size_t fitting, excess, step = 1;
    if (fits(guess)) {
      fitting = guess, excess = guess + 1;
      while (excess <= most && fits(excess)) {
        step *= 2;
        fitting = std::exchange(excess, excess + step);
      }
      excess = std::min(excess, most + 1);
    } else {
      fitting = guess - 1, excess = guess;
      while (fitting > 0 && !fits(fitting)) {
        step *= 2;
        excess = std::exchange(fitting, fitting > step ? fitting - step : 0);
      }
    }
    while (excess - fitting > 1) {
      const std::size_t middle = (fitting + excess) / 2;
      (fits(middle) ? fitting : excess) = middle;
    }
    return fitting;
  }

  // Joins spans of 0 tokens to the span before them, or else to the span after them.
  std::vector<Span> join_silent(const std::vector<Span>& spans) const {
    std::vector<Span> joined;
    bool silent_before = false;
    for (const auto& [is_silent, span] : merge_silent_runs(spans)) {
      const Span both = {joined.empty() ? 0 : joined.back().start, span.stop};
      if (!joined.empty() && (is_silent || silent_before) && count(both) <= max_tokens_) {
        joined.back() = both;
        silent_before = false;
      } else {
        joined.push_back(span);
        silent_before = is_silent;
      }
    }
    return joined;
  }

  // Merges adjacent spans of 0 tokens; each span comes with whether it is one.
  std::vector<std::pair<bool, Span>> merge_silent_runs(const std::vector<Span>& spans) const {
    std::vector<std::pair<bool, Span>> merged;
    for (const Span span : spans) {
      const bool is_silent = count(span) == 0;
      if (is_silent && !merged.empty() && merged.back().first)
        merged.back().second.stop = span.stop;
      else
        merged.emplace_back(is_silent, span);
    }
    return merged;
  }

  // Returns the spans into which the cuts divide a span, leaving out cuts inside a brace group.
  std::vector<Span> parts(FindCuts find, Span span) const {
    std::vector<Span> result;
    std::size_t start = span.start;
    for (const std::size_t cut : find(text_, span, tables_))
      if (is_allowed(cut)) result.push_back({std::exchange(start, cut), cut});
    result.push_back({start, span.stop});
    return result;
  }

  bool is_allowed(std::size_t cut) const {
    const auto after = std::lower_bound(groups_.begin(), groups_.end(), cut,
                                        [](const Span& group, std::size_t at) { return group.start < at; });
    return after == groups_.begin() || (after - 1)->stop <= cut;
  }

  std::int64_t count(Span span) const {
    const View part = piece(span);
    return part.empty() ? 0 : count_tokens_(part);
  }

  View text_;
  std::int64_t max_tokens_;
  const CountTokens& count_tokens_;
  const TextTables& tables_;
  std::vector<Span> groups_;
};

}  // namespace

std::vector<Text> split_text(View text, std::int64_t max_tokens, const CountTokens& count_tokens,
                             const TextTables& tables) {
  const Splitter splitter(text, max_tokens, count_tokens, tables);
  std::vector<Text> pieces;
  for (const Span span : splitter.split()) pieces.emplace_back(splitter.piece(span));
  return pieces;
}

}  // namespace tacoglow
