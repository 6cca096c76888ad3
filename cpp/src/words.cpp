#include "words.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "braces.hpp"
#include "unicode.hpp"

namespace tacoglow {
namespace {

using View = std::u32string_view;
using Ids = std::vector<std::int32_t>;
using Owners = std::vector<std::ptrdiff_t>;  // by token: the index of the word that it speaks

constexpr std::ptrdiff_t nobody = -1;  // owns the space between two words

// Splits at spaces, but not inside a brace group.
std::vector<View> split_words(View text) {
  const std::vector<Span> groups = brace_groups(text);
  auto group = groups.begin();
  std::vector<View> words;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    while (group != groups.end() && group->stop <= i) ++group;
    const bool is_inside = group != groups.end() && group->start < i;
    if (i < text.size() && (text[i] != U' ' || is_inside)) continue;
    if (i > start) words.push_back(text.substr(start, i - start));
    start = i + 1;
  }
  return words;
}

// A run of equal ids: a[i], …, and b[j], …
struct Match {
  std::size_t i, j, size;
};

// Aligns two sequences as Python's difflib.SequenceMatcher does, without its heuristics: the longest run that both have
// first, then those on either side of it.
class Matcher {
 public:
  Matcher(const Ids& a, const Ids& b) : a_(a), lengths_(b.size() + 1), next_(b.size() + 1) {
    for (std::size_t j = 0; j < b.size(); ++j) places_[b[j]].push_back(j);
    find(0, a.size(), 0, b.size());
    std::sort(matches_.begin(), matches_.end(), [](const Match& x, const Match& y) { return x.i < y.i; });
  }

  const std::vector<Match>& matches() const { return matches_; }

 private:
  void find(std::size_t a_start, std::size_t a_stop, std::size_t b_start, std::size_t b_stop) {
    struct Range {
      std::size_t a_start, a_stop, b_start, b_stop;
    };
    std::vector<Range> left = {{a_start, a_stop, b_start, b_stop}};
    while (!left.empty()) {
      const Range range = left.back();
      left.pop_back();
      const Match match = longest(range.a_start, range.a_stop, range.b_start, range.b_stop);
      if (match.size == 0) continue;
      matches_.push_back(match);
      left.push_back({range.a_start, match.i, range.b_start, match.j});
      left.push_back({match.i + match.size, range.a_stop, match.j + match.size, range.b_stop});
    }
  }

  // Returns the longest run in these ranges; of several, the one that begins first in a, then in b.
  Match longest(std::size_t a_start, std::size_t a_stop, std::size_t b_start, std::size_t b_stop) {
    Match best = {a_start, b_start, 0};
    std::fill(lengths_.begin(), lengths_.end(), 0);  // by j + 1: the run that ends at the a before and at b[j]
    for (std::size_t i = a_start; i < a_stop; ++i) {
      std::fill(next_.begin(), next_.end(), 0);
      const auto places = places_.find(a_[i]);
      if (places != places_.end())
        for (const std::size_t j : places->second) {
          if (j < b_start || j >= b_stop) continue;
          const std::size_t size = next_[j + 1] = lengths_[j] + 1;
          if (size > best.size) best = {i + 1 - size, j + 1 - size, size};
        }
      std::swap(lengths_, next_);
    }
    return best;
  }

  const Ids& a_;
  std::unordered_map<std::int32_t, std::vector<std::size_t>> places_;  // in b
  std::vector<std::size_t> lengths_, next_;
  std::vector<Match> matches_;
};

// Hands the owners of the ids of single words over to the ids of the text: to equal runs, and in proportion.
Owners transfer(const Owners& owners, const Ids& apart, const Ids& ids) {
  Owners own;
  if (owners.empty()) return Owners(ids.size(), nobody);
  const Matcher matcher(apart, ids);
  std::size_t i = 0, j = 0;
  const auto hand_over = [&](std::size_t i_stop, std::size_t j_stop) {  // of parts that differ
    for (std::size_t k = j; k < j_stop; ++k)
      own.push_back(owners[i_stop > i ? i + (k - j) * (i_stop - i) / (j_stop - j) : std::max<std::size_t>(i, 1) - 1]);
  };
  for (const Match& match : matcher.matches()) {
    hand_over(match.i, match.j);
    own.insert(own.end(), owners.begin() + static_cast<std::ptrdiff_t>(match.i),
               owners.begin() + static_cast<std::ptrdiff_t>(match.i + match.size));
    i = match.i + match.size;
    j = match.j + match.size;
  }
  hand_over(apart.size(), ids.size());
  return own;
}

// Encodes each word by itself. If the cleaners depend on the words around, the two sequences of ids are aligned.
Owners find_owners(const std::vector<View>& words, const Ids& ids, const EncodePart& encode) {
  const Ids space = encode(U" ");
  Ids apart;
  Owners owners;
  const auto add = [&](const Ids& part, std::ptrdiff_t owner) {
    apart.insert(apart.end(), part.begin(), part.end());
    owners.insert(owners.end(), part.size(), owner);
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) add(space, nobody);
    add(encode(words[i]), static_cast<std::ptrdiff_t>(i));
  }
  return apart == ids ? owners : transfer(owners, apart, ids);
}

}  // namespace

std::vector<SpokenWord> find_words(View text, const Ids& ids, const std::vector<bool>& is_letter,
                                   const EncodePart& encode) {
  const std::vector<View> words = split_words(text);
  const Owners owners = find_owners(words, ids, encode);
  struct Own {
    std::vector<std::int64_t> all, letters;
  };
  std::vector<Own> tokens(words.size());
  for (std::size_t token = 0; token < owners.size(); ++token) {
    if (owners[token] == nobody) continue;
    Own& own = tokens[static_cast<std::size_t>(owners[token])];
    own.all.push_back(static_cast<std::int64_t>(token));
    if (is_letter[static_cast<std::size_t>(ids[token])]) own.letters.push_back(static_cast<std::int64_t>(token));
  }
  std::vector<SpokenWord> spoken;
  std::int64_t stop = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::vector<std::int64_t>& kept = tokens[i].letters.empty() ? tokens[i].all : tokens[i].letters;
    const std::int64_t before = stop;
    std::int64_t first = kept.empty() ? stop : kept.front();
    stop = kept.empty() ? stop : kept.back() + 1;
    // The space before a word is its own: in fluent speech, a voice attends to it when it begins the word.
    bool is_space = !spoken.empty();
    for (std::int64_t k = before; k < first; ++k) is_space = is_space && owners[static_cast<std::size_t>(k)] == nobody;
    if (is_space) first = before;
    spoken.push_back({to_utf8(words[i]), first, stop});
  }
  return spoken;
}

}  // namespace tacoglow
