#include "lexicon.hpp"

#include <algorithm>
#include <utility>

#include "braces.hpp"
#include "error.hpp"

namespace tacoglow {
namespace {

constexpr std::size_t entries_max = 10'000;
constexpr std::size_t word_max = 100;        // characters of an entry's word, or words
constexpr std::size_t spoken_max = 200;      // characters of what is spoken for it
constexpr std::size_t growth_max = 20;       // times the length of a text that its replacements may reach
constexpr std::size_t growth_free = 10'000;  // characters that it may reach in any case
constexpr std::size_t plural_letters = 3;    // least letters of a word whose plural is found too
constexpr View inflected_ends = U"s'";       // what forms of words end with
constexpr View line_ends = U"\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029";

bool ends_with(View text, View ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

bool is_one_of(View phone, View phones) {
  return !phone.empty() && (U" " + Text(phones) + U" ").find(U" " + Text(phone) + U" ") != Text::npos;
}

std::vector<Text> plain_apostrophes(std::vector<Text> tokens) {
  for (Text& token : tokens) std::replace(token.begin(), token.end(), U'\u2019', U'\'');
  return tokens;
}

void check(const std::string& name, const Text& value, std::size_t longest, const TextTables& tables) {
  if (tables.strip(value).empty()) throw request_error("lexicon: " + name + ": expected some text");
  if (value.size() > longest)
    throw request_error("lexicon: " + name + ": expected at most " + std::to_string(longest) + " characters, got " +
                        std::to_string(value.size()));
}

}  // namespace

Lexicon::Lexicon(const LexiconEntries& entries, const TextTables& tables) : tables_(tables) {
  if (entries.size() > entries_max)
    throw request_error("lexicon: expected at most " + std::to_string(entries_max) + " entries, got " +
                        std::to_string(entries.size()));
  for (const auto& [word, spoken] : entries) {
    const Text own = from_utf8(word), said = from_utf8(spoken);
    check("word", own, word_max, tables);
    check("'" + word + "'", said, spoken_max, tables);
    add(own, tables.strip(said));
  }
}

void Lexicon::add(View word, const Text& spoken) {
  const Tokens key = key_of(word);
  const auto n_letters =
      std::count_if(word.begin(), word.end(), [&](char32_t c) { return tables_.alphabetic.contains(c); });
  if (!(tables_.is_upper(word) && n_letters > 1)) plant(any_case_, lower_all(key), spoken);
  plant(exact_, key, spoken);
}

void Lexicon::plant(Tree& tree, const Tokens& key, const Text& spoken) {
  Tree* node = &tree;
  for (const Text& token : key) {
    std::unique_ptr<Tree>& longer = node->next[token];
    if (!longer) longer = std::make_unique<Tree>();
    node = longer.get();
  }
  node->spoken = spoken;
}

const Lexicon::Tree& Lexicon::next(const Tree& tree, const Text& token) {
  static const Tree nothing;
  const auto found = tree.next.find(token);
  return found == tree.next.end() ? nothing : *found->second;
}

Lexicon::Tokens Lexicon::tokens_of(View text) const {
  Tokens tokens;
  token_.for_each(text, 0, [&](const Match& match) {
    tokens.emplace_back(tables_.whitespace.contains(match[0][0]) ? View(U" ") : match[0]);
    return true;
  });
  return tokens;
}

Lexicon::Tokens Lexicon::key_of(View word) const {
  return plain_apostrophes(tokens_of(tables_.normalization.compose(tables_.strip(word))));
}

Lexicon::Tokens Lexicon::lower_all(Tokens tokens) const {
  for (Text& token : tokens) token = lower(token);
  return tokens;
}

Text Lexicon::apply(View text) const {
  if (empty()) return Text(text);
  Text result;
  std::size_t done = 0;
  for (const auto [start, stop] : brace_groups(text)) {
    replace(text.substr(done, start - done), result);
    result += text.substr(start, stop - start);
    done = stop;
  }
  replace(text.substr(done), result);
  if (result.size() > std::max(growth_free, growth_max * text.size()))
    throw request_error("lexicon: makes " + std::to_string(result.size()) + " characters of a text of " +
                        std::to_string(text.size()) + "; shorten its entries");
  return result;
}

bool Lexicon::is_spoken(char32_t character) const {
  return tables_.alphanumeric.contains(character) || character == U'{' || character == U'}';
}

void Lexicon::replace(View text, Text& result) const {
  const Tokens tokens = tokens_of(tables_.normalization.compose(text));
  const Tokens plain = plain_apostrophes(tokens), folded = lower_all(plain);
  bool was_replaced = false;
  for (std::size_t i = 0; i < tokens.size();) {
    const auto [found, length] = find(plain, folded, i);
    const Text& spoken = found ? *found : tokens[i];
    // Words beside a sign that has an entry, as in "R&D".
    if (i > 0 && (found || was_replaced) && is_spoken(result.back()) && is_spoken(spoken[0])) result += U' ';
    result += spoken;
    was_replaced = found.has_value();
    i += length;
  }
}

// Returns what is spoken for the longest entry that begins at a token, and how many tokens it has. Two trees are walked
// at the same time, so that a step costs the same, however long the entry is.
std::pair<std::optional<Text>, std::size_t> Lexicon::find(const Tokens& plain, const Tokens& folded,
                                                          std::size_t first) const {
  const Tree *exact = &exact_, *any_case = &any_case_;
  const Text* found = nullptr;
  Text found_ending;
  std::size_t length = 1;
  const auto keep = [&](const Tree& as_spelled, const Tree& in_any_case, std::size_t i, const Text& ending) {
    const Text& spoken = as_spelled.spoken.empty() ? in_any_case.spoken : as_spelled.spoken;
    if (spoken.empty()) return false;
    found = &spoken;
    found_ending = ending;
    length = i - first + 1;
    return true;
  };
  for (std::size_t i = first; i < plain.size() && !(exact->next.empty() && any_case->next.empty()); ++i) {
    const Tree &longer = next(*exact, plain[i]), &longer_any_case = next(*any_case, folded[i]);
    if (!keep(longer, longer_any_case, i, U"") && inflected_ends.find(folded[i].back()) != View::npos)
      for (const auto& [word, ending] : forms(plain[i]))
        if (keep(next(*exact, word), next(*any_case, lower(word)), i, ending)) break;
    exact = &longer;
    any_case = &longer_any_case;
  }
  if (found == nullptr) return {std::nullopt, length};
  return {inflected(*found, found_ending), length};
}

// Returns the words that a token may be a form of, beside itself, each with the form's ending.
std::vector<std::pair<Text, Text>> Lexicon::forms(Text token) const {
  std::vector<std::pair<Text, Text>> forms;
  const auto add = [&](std::size_t less, const char32_t* ending) {
    forms.emplace_back(token.substr(0, token.size() - less), ending);
  };
  if (token.back() == U'\'') {
    add(1, U"");
    token.pop_back();
  }
  const Text lower = this->lower(token);
  if (ends_with(lower, U"'s")) {
    add(2, U"'s");
  } else if (ends_with(lower, U"s") && token.size() > plural_letters) {
    add(1, U"s");
    if (ends_with(lower, U"es")) add(2, U"s");
    if (ends_with(lower, U"ies")) {
      add(3, U"s");
      forms.back().first += U'y';
    }
  }
  return forms;
}

// Returns what is spoken with the ending of a plural or possessive: in letters, or as a phone.
Text Lexicon::inflected(const Text& spoken, const Text& ending) const {
  if (ending.empty()) return spoken;
  if (spoken.back() != U'}') {
    const Text lower = this->lower(spoken);
    const bool is_letter = spoken.size() == 1 || spoken[spoken.size() - 2] == U' ';
    if (ending == U"s" && is_letter) return spoken + U"'s";  // "A P I's"
    const bool hisses = ends_with(lower, U"s") || ends_with(lower, U"x") || ends_with(lower, U"z") ||
                        ends_with(lower, U"ch") || ends_with(lower, U"sh");
    return spoken + (ending == U"s" && hisses ? U"es" : ending);
  }
  const Text phones = tables_.strip_right(View(spoken).substr(0, spoken.size() - 1));
  std::size_t start = phones.size();
  while (start > 0 && !tables_.whitespace.contains(phones[start - 1])) --start;
  View last = View(phones).substr(start);
  while (!last.empty() && last.front() == U'{') last.remove_prefix(1);
  while (!last.empty() && last.back() >= U'0' && last.back() <= U'2') last.remove_suffix(1);
  const Text added = is_one_of(last, U"S Z SH ZH CH JH") ? U"IH0 Z" : is_one_of(last, U"P T K F TH") ? U"S" : U"Z";
  return phones + U" " + added + U"}";
}

LexiconEntries parse_lexicon(std::string_view content, const TextTables& tables) {
  const Text text = from_utf8(content);
  LexiconEntries entries;
  std::size_t number = 1;
  for (std::size_t start = 0; start < text.size(); ++number) {
    const std::size_t end = std::min(text.find_first_of(line_ends, start), text.size());
    const Text line = tables.strip(View(text).substr(start, end - start));
    start = end + (View(text).substr(end, 2) == U"\r\n" ? 2 : 1);
    if (line.empty() || line[0] == U'#') continue;
    const std::size_t equals = line.find(U'=');
    const Text word = tables.strip(View(line).substr(0, equals));
    const Text spoken = equals == Text::npos ? Text() : tables.strip(View(line).substr(equals + 1));
    const std::string place = "lexicon: line " + std::to_string(number) + ": ";
    if (word.empty() || spoken.empty())
      throw request_error(place + "expected 'word = spoken', got '" + to_utf8(line.substr(0, 40)) + "'");
    if (!entries.emplace(to_utf8(word), to_utf8(spoken)).second)
      throw request_error(place + "'" + to_utf8(word) + "' has an entry already; remove one");
  }
  return entries;
}

}  // namespace tacoglow
