#include "sentences.hpp"

#include <algorithm>

namespace tacoglow {
namespace {

constexpr std::size_t longest_abbreviation = 6;  // letters, of one that is in none of the lists

bool all_in(View word, const CharacterSet& set) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [&](char32_t c) { return set.contains(c); });
}

bool is_initial(View word) { return word.size() == 1 && word[0] >= U'A' && word[0] <= U'Z'; }

Text capitalized(Text word, const TextTables& tables) {
  word = tables.lower(word);
  if (!word.empty() && word[0] >= U'a' && word[0] <= U'z') word[0] -= 32;
  return word;
}

// The sentences of one span of a text.
class Sentences {
 public:
  Sentences(View text, std::size_t stop, const TextTables& tables)
      : text_(text), span_(text.substr(0, stop)), tables_(tables), words_(tables.sentences) {}

  std::vector<std::size_t> ends(std::size_t start) const {
    std::vector<std::size_t> cuts;
    std::size_t begin = start;
    bool is_lower = begins_in_lower_case(begin);
    sentence_end_.for_each(span_, start, [&](const Match& match) {
      const std::size_t end = match.end();
      if (begin < end && end < span_.size() && !continues(match, begin, is_lower)) {
        cuts.push_back(end);
        begin = end;
        is_lower = begins_in_lower_case(begin);
      }
      return true;
    });
    return cuts;
  }

 private:
  bool begins_in_lower_case(std::size_t begin) const {
    const auto match = first_word_.match(span_, begin);
    return match && tables_.lowercase.contains((*match)[1][0]);
  }

  // True if the sentence from `begin` continues after this match, which looks like its end. is_lower: the sentence
  // begins in lower case, as all sentences of some writers do.
  bool continues(const Match& match, std::size_t begin, bool is_lower) const {
    const View mark = match[1], closers = match[2];
    // A line's end and the full-width marks always end a sentence.
    if (!match.has(1) || text_[match.end()] == U'\n') return false;
    const char32_t following = text_[match.end() + 1];
    const bool before_small = tables_.lowercase.contains(following);
    // '"Stop!" he said' and "well... perhaps" are one sentence each; "stop! and go" is two.
    if (!closers.empty() || mark != U".")
      return before_small && (!closers.empty() || mark.back() == U'.' || mark.back() == U'\u2026');
    const View word = word_before(begin, match.start());
    const Text lower = tables_.lower(word);
    const bool is_first = match.start() - begin <= word.size() + 2;
    const bool is_dotted = dotted_.full_match(word).has_value(), is_number = all_in(word, tables_.digits);
    if (is_first && item_.full_match(word)) return true;
    if (before_small) {
      const bool is_short = word.size() <= longest_abbreviation && all_in(word, tables_.alphabetic);
      return is_initial(word) || is_dotted || is_known(lower) || (is_short && !is_lower);
    }
    if ((following == U'(' || following == U'[') && match.end() + 2 < span_.size() &&
        (is_known(lower) || words_.after_number.count(lower) != 0 || is_initial(word) || is_dotted)) {
      const char32_t inner = text_[match.end() + 2];  // "Inc. (formerly", "et al. (2020)"
      if (tables_.lowercase.contains(inner) || tables_.digits.contains(inner)) return true;
    }
    if (is_number) return false;
    const bool before_digit = tables_.digits.contains(following);
    if (words_.after_number.count(lower) != 0 && follows_number(match.start() - word.size())) return before_digit;
    if (words_.before_number.count(lower) != 0 && !is_initial(word) && (before_digit || words_.dates.count(lower) == 0))
      return before_digit;
    if (!is_known(lower) && !is_initial(word) && !is_dotted) return false;
    if (words_.before_more.count(lower) != 0 && words_.after_name.count(lower) == 0 && lower != U"st") return true;
    return continues_before(match.end() + 1, lower);
  }

  // True if a sentence continues with the word at this offset, after an abbreviation that may end one.
  bool continues_before(std::size_t at, const Text& lower) const {
    const auto following = next_word_.match(span_, at);
    const Text word((*following)[1]), lower_word = tables_.lower(word);
    if (words_.starters.count(word) != 0 || words_.starters.count(capitalized(word, tables_)) != 0) return false;
    if (word.size() > 1 && tables_.is_upper(word)) return true;
    if (text_.substr(following->end(), 1) == U"." && is_known(lower_word)) return true;
    if (lower == U"a.m" || lower == U"p.m") return words_.after_time.count(lower_word) != 0;
    return words_.after_name.count(lower) == 0 && words_.dates.count(lower) == 0;
  }

  bool is_known(const Text& lower) const {
    return words_.before_more.count(lower) != 0 || words_.after_name.count(lower) != 0 ||
           words_.before_number.count(lower) != 0;
  }

  bool follows_number(std::size_t at) const {
    const Text before = tables_.strip(text_.substr(at - std::min<std::size_t>(at, 2), std::min<std::size_t>(at, 2)));
    return !before.empty() && tables_.digits.contains(before.back());
  }

  // Returns the word that ends at `stop`, without the quotes and brackets before it: "Mr" of "(Mr.".
  View word_before(std::size_t begin, std::size_t stop) const {
    const std::size_t space = text_.substr(begin, stop - begin).rfind(U' ');
    std::size_t start = space == View::npos ? begin : begin + space + 1;
    while (start < stop && !tables_.alphanumeric.contains(text_[start])) ++start;
    return text_.substr(start, stop - start);
  }

  View text_, span_;  // the whole text, and up to the span's end
  const TextTables& tables_;
  const SentenceWords& words_;
  const Pattern& sentence_end_ = tables_.pattern("sentences.sentence_end");
  const Pattern& first_word_ = tables_.pattern("sentences.first_word");
  const Pattern& next_word_ = tables_.pattern("sentences.next_word");
  const Pattern& item_ = tables_.pattern("sentences.item");
  const Pattern& dotted_ = tables_.pattern("sentences.dotted");
};

}  // namespace

std::vector<std::size_t> sentence_ends(View text, Span span, const TextTables& tables) {
  return Sentences(text, span.stop, tables).ends(span.start);
}

std::vector<std::size_t> clause_ends(View text, Span span, const TextTables& tables) {
  std::vector<std::size_t> cuts;
  tables.pattern("sentences.clause_end").for_each(text.substr(0, span.stop), span.start, [&](const Match& match) {
    if (match.end() < span.stop) cuts.push_back(match.end());
    return true;
  });
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
