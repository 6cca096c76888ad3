#include "pattern.hpp"

namespace tacoglow {
namespace {

constexpr std::size_t nowhere = View::npos;

}  // namespace

bool CharacterClass::contains(char32_t character) const {
  if (character < 128) return ascii[character];
  for (const auto& [first, last] : ranges)
    if (character >= first && character <= last) return !negated;
  for (const CharacterSet* set : sets)
    if (set->contains(character)) return !negated;
  return negated;
}

// Runs a program on a text. What is left to try, and what to undo before, is on a stack of its own, so that the depth
// does not depend on the text.
class Matcher {
 public:
  Matcher(const Pattern& pattern, View text, bool whole, std::size_t not_empty_at)
      : pattern_(pattern),
        text_(text),
        whole_(whole),
        not_empty_at_(not_empty_at),
        slots(2 * pattern.n_groups_, nowhere) {}

  bool run(std::size_t place, std::size_t at);

 private:
  using Op = Pattern::Op;
  struct Branch {
    std::size_t place;      // of the instruction to go on with; nowhere: set slot `at` to `least`
    std::size_t at, least;  // offsets in the text to try, descending
  };

  bool looks(const Pattern::Instruction& look, std::size_t place, std::size_t at);
  bool at_edge(const CharacterClass& word, std::size_t at) const {
    return (at > 0 && word.contains(text_[at - 1])) != (at < text_.size() && word.contains(text_[at]));
  }
  void save(std::size_t slot, std::size_t at) {
    branches_.push_back({nowhere, slot, slots[slot]});
    slots[slot] = at;
  }
  bool has(std::size_t group) const { return slots[2 * group + 1] != nowhere; }

  const Pattern& pattern_;
  View text_;
  bool whole_;
  std::size_t not_empty_at_;
  std::vector<Branch> branches_;

 public:
  std::vector<std::size_t> slots;
};

bool Matcher::looks(const Pattern::Instruction& look, std::size_t place, std::size_t at) {
  const bool is_ahead = look.a == nowhere, is_negative = look.c % 2 == 1, has_groups = look.c >= 2;
  if (!is_ahead && at < look.a) return is_negative;
  const std::size_t depth = branches_.size();
  const std::vector<std::size_t> before = has_groups ? slots : std::vector<std::size_t>();
  const bool found = run(place + 1, is_ahead ? at : at - look.a);
  branches_.resize(depth);
  for (std::size_t slot = 0; slot < before.size(); ++slot) {
    if (slots[slot] == before[slot]) continue;
    if (is_negative)
      slots[slot] = before[slot];
    else
      branches_.push_back({nowhere, slot, before[slot]});
  }
  return found != is_negative;
}

bool Matcher::run(std::size_t place, std::size_t at) {
  const std::size_t depth = branches_.size(), start = at, end = text_.size();
  const bool is_outermost = place == 0;
  for (;;) {
    const Pattern::Instruction& now = pattern_.program_[place];
    bool fits = true;
    std::size_t next = place + 1;
    switch (now.op) {
      case Op::set:
        fits = at < end && pattern_.classes_[now.a].contains(text_[at]);
        ++at;
        break;
      case Op::repeat: {
        const CharacterClass& members = pattern_.classes_[now.a];
        const std::size_t first = at, most = now.c < end - at ? at + now.c : end;
        while (at < most && members.contains(text_[at])) ++at;
        fits = at - first >= now.b;
        if (fits && at - first > now.b) branches_.push_back({next, at - 1, first + now.b});
        break;
      }
      case Op::split:
        branches_.push_back({now.b, at, at});
        next = now.a;
        break;
      case Op::jump:
        next = now.a;
        break;
      case Op::save:
        save(now.a, at);
        break;
      case Op::look:
        fits = looks(now, place, at);
        next = now.b;
        break;
      case Op::edge:
        fits = at_edge(pattern_.classes_[now.a], at);
        break;
      case Op::text_end:
        fits = at == end;
        break;
      case Op::line_end:
        fits = at == end || (at + 1 == end && text_[at] == U'\n');
        break;
      case Op::back_reference: {
        fits = has(now.a);
        if (!fits) break;
        const View group = text_.substr(slots[2 * now.a], slots[2 * now.a + 1] - slots[2 * now.a]);
        fits = text_.substr(at, group.size()) == group;
        at += group.size();
        break;
      }
      case Op::if_group:
        next = has(now.a) ? place + 1 : now.b;
        break;
      case Op::match:
        fits = !is_outermost || ((!whole_ || at == end) && !(at == start && at == not_empty_at_));
        if (fits) {
          if (is_outermost) slots[0] = start, slots[1] = at;
          return true;
        }
        break;
    }
    if (fits) {
      place = next;
      continue;
    }
    for (;;) {
      if (branches_.size() == depth) return false;
      Branch& last = branches_.back();
      if (last.place == nowhere) {
        slots[last.at] = last.least;
        branches_.pop_back();
        continue;
      }
      place = last.place;
      at = last.at;
      if (last.at > last.least)
        --last.at;
      else
        branches_.pop_back();
      break;
    }
  }
}

std::optional<Match> Pattern::find(View text, std::size_t from, bool anchored, bool whole,
                                   std::size_t not_empty_at) const {
  Matcher matcher(*this, text, whole, not_empty_at);
  for (std::size_t at = from; at <= text.size(); ++at) {
    if (!may_be_empty_ && (at == text.size() || !may_begin_with(text[at]))) {
      if (anchored) break;
      continue;
    }
    if (matcher.run(0, at)) return Match(*this, text, std::move(matcher.slots));
    if (anchored) break;
  }
  return std::nullopt;
}

std::optional<Match> Pattern::match(View text, std::size_t at) const { return find(text, at, true, false, nowhere); }
std::optional<Match> Pattern::full_match(View text) const { return find(text, 0, true, true, nowhere); }
std::optional<Match> Pattern::search(View text, std::size_t from) const {
  return find(text, from, false, false, nowhere);
}

bool Match::has(std::size_t group) const { return 2 * group + 1 < bounds_.size() && end(group) != nowhere; }

std::size_t Match::number_of(std::string_view name) const {
  const auto found = pattern_->names_.find(name);
  return found == pattern_->names_.end() ? pattern_->n_groups_ : found->second;
}

}  // namespace tacoglow
