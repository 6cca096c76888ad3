// Regular expressions as Python's `re` writes and matches them, over code points.
//
// The rules of the text front end are patterns of Python's text/ in the bundle, so that they are written once.
// std::regex has neither look-behind nor char32_t, and recurses with the length of the text. What Python's rules do not
// use is rejected: lazy repetition, `.`, `^`, and \d or case-insensitivity beyond ASCII.
#pragma once

#include <bitset>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "character_set.hpp"
#include "unicode.hpp"

namespace tacoglow {

class Pattern;

// The groups of a match, by number or name; it refers to the pattern and the text that it was found in.
class Match {
 public:
  Match(const Pattern& pattern, View text, std::vector<std::size_t> bounds)
      : pattern_(&pattern), text_(text), bounds_(std::move(bounds)) {}

  View text() const { return text_; }
  std::size_t start(std::size_t group = 0) const { return bounds_.at(2 * group); }
  std::size_t end(std::size_t group = 0) const { return bounds_.at(2 * group + 1); }

  // True if the group took part in the match.
  bool has(std::size_t group) const;
  bool has(std::string_view name) const { return has(number_of(name)); }

  // Returns the group's text; "" if it took no part.
  View operator[](std::size_t group) const {
    return has(group) ? text_.substr(start(group), end(group) - start(group)) : View();
  }
  View operator[](std::string_view name) const { return (*this)[number_of(name)]; }
  std::size_t number_of(std::string_view name) const;

 private:
  const Pattern* pattern_;
  View text_;
  std::vector<std::size_t> bounds_;  // start and end of each group
};

// The characters that one place of a pattern matches.
struct CharacterClass {
  bool contains(char32_t character) const;

  std::bitset<128> ascii;
  std::vector<std::pair<char32_t, char32_t>> ranges;  // beyond ASCII, first and last
  std::vector<const CharacterSet*> sets;              // beyond ASCII
  bool negated = false;
};

class Pattern {
 public:
  // flags: "a" for re.ASCII, "i" for re.IGNORECASE. Throws Error (bundle), whose message begins with `name`. The sets
  // must outlive the pattern.
  Pattern(const std::string& name, View source, std::string_view flags, const CharacterSet& alphanumeric,
          const CharacterSet& whitespace);

  // As Python's `match`, `fullmatch` and `search`, from an offset on; look-behind sees what is before it.
  std::optional<Match> match(View text, std::size_t at = 0) const;
  std::optional<Match> full_match(View text) const;
  std::optional<Match> search(View text, std::size_t from = 0) const;

  // Calls visit(const Match&) for each match, as Python's `finditer`, until it returns false.
  template <typename Visit>
  void for_each(View text, std::size_t from, const Visit& visit) const;

  // Replaces each match by what replacement(const Match&) returns, as Python's `sub`.
  template <typename Replacement>
  Text replace(View text, const Replacement& replacement) const;

 private:
  friend class Match;
  friend class PatternCompiler;
  friend class Matcher;

  enum class Op { set, repeat, split, jump, save, look, edge, text_end, line_end, back_reference, if_group, match };

  struct Instruction {
    Op op;
    std::size_t a = 0, b = 0, c = 0;  // set: class; repeat: class, least, most; split: preferred, other; jump: target
    // save: slot; look: width of a look-behind, place after it, kind; edge: class; references: group, place without it
  };

  std::optional<Match> find(View text, std::size_t from, bool anchored, bool whole, std::size_t not_empty_at) const;
  bool may_begin_with(char32_t character) const { return character < 128 ? begins_[character] : begins_beyond_; }

  std::vector<Instruction> program_;
  std::vector<CharacterClass> classes_;
  std::map<std::string, std::size_t, std::less<>> names_;
  std::size_t n_groups_ = 1;
  bool may_be_empty_ = false;
  std::bitset<128> begins_;  // characters that a match can begin with, unless it may be empty
  bool begins_beyond_ = false;
};

template <typename Visit>
void Pattern::for_each(View text, std::size_t from, const Visit& visit) const {
  constexpr std::size_t nowhere = View::npos;
  for (std::size_t not_empty_at = nowhere;;) {
    const auto match = find(text, from, false, false, not_empty_at);
    if (!match || !visit(*match)) return;
    from = match->end();
    not_empty_at = match->end();
    if (match->end() != match->start()) not_empty_at = nowhere;
  }
}

template <typename Replacement>
Text Pattern::replace(View text, const Replacement& replacement) const {
  Text result;
  std::size_t done = 0;
  for_each(text, 0, [&](const Match& match) {
    result += text.substr(done, match.start() - done);
    result += replacement(match);
    done = match.end();
    return true;
  });
  return result += text.substr(done);
}

}  // namespace tacoglow
