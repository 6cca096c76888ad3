#include "text_tables.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "error.hpp"
#include "json_node.hpp"
#include "unicode.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t format = 1;
constexpr char separator = '\x1f';
constexpr std::int64_t code_max = 0x10FFFF;
constexpr char32_t capital_sigma = U'\u03A3', small_sigma = U'\u03C3', final_sigma = U'\u03C2';

std::u32string read_text(const JsonNode& node) {
  try {
    return from_utf8(node.text());
  } catch (const Error&) {
    node.fail("expected UTF-8");
  }
}

std::vector<std::u32string> read_texts(const JsonNode& node, std::size_t count) {
  std::vector<std::u32string> texts;
  for (const auto& item : node.items()) texts.push_back(read_text(item));
  if (texts.size() != count) node.fail("expected " + std::to_string(count) + " items");
  return texts;
}

std::set<std::u32string> read_words(const JsonNode& node) {
  std::set<std::u32string> words;
  for (const auto& item : node.items()) words.insert(read_text(item));
  return words;
}

std::pair<JsonNode, JsonNode> read_pair(const JsonNode& node) {
  auto items = node.items();
  if (items.size() != 2) node.fail("expected two items");
  return {items[0], items[1]};
}

std::vector<std::pair<std::u32string, std::u32string>> read_pairs(const JsonNode& node) {
  std::vector<std::pair<std::u32string, std::u32string>> pairs;
  for (const auto& item : node.items()) {
    const auto [first, second] = read_pair(item);
    pairs.emplace_back(read_text(first), read_text(second));
    if (pairs.back().first.empty()) first.fail("expected at least one character");
  }
  return pairs;
}

CharacterSet read_set(const JsonNode& node) {
  std::vector<char32_t> bounds;
  for (const auto& code : node.integers(0, code_max)) bounds.push_back(static_cast<char32_t>(code));
  if (bounds.size() % 2 != 0 || !std::is_sorted(bounds.begin(), bounds.end())) node.fail("expected ascending ranges");
  return CharacterSet(std::move(bounds));
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (std::size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, start)) {
    parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  parts.push_back(text.substr(start));
  return parts;
}

void read_characters(const JsonNode& root, TextTables& tables) {
  for (const auto& run : root["transliteration"].items()) {
    const auto [first, texts] = read_pair(run);
    tables.transliteration[static_cast<char32_t>(first.integer(0x80, code_max))] = split(texts.text());
  }
  for (const auto& [upper, lower] : read_pairs(root["lower"])) tables.lower_case[upper[0]] = lower;
  tables.cased = read_set(root["cased"]);
  tables.case_ignorable = read_set(root["case_ignorable"]);
  tables.alphanumeric = read_set(root["alphanumeric"]);
  tables.lowercase = read_set(root["lowercase"]);
  tables.digits = read_set(root["digits"]);
  tables.silent = read_set(root["silent"]);
  tables.whitespace = read_set(root["whitespace"]);
}

NumberWords read_numbers(const JsonNode& node) {
  constexpr std::size_t n_powers = 12;  // up to the decillion: 36 digits
  return {read_texts(node["units"], 10), read_texts(node["teens"], 10), read_texts(node["tens"], 10),
          read_texts(node["powers"], n_powers), read_pairs(node["ordinals"])};
}

Pauses read_pauses(const JsonNode& node) {
  Pauses pauses;
  for (const auto& item : node["by_mark"].items()) {
    const auto [marks, seconds] = read_pair(item);
    pauses.by_mark.emplace_back(read_text(marks), seconds.number(0.0, 10.0));
  }
  pauses.within_clause = node["within_clause"].number(0.0, 10.0);
  pauses.closing = read_text(node["closing"]);
  pauses.fade = node["fade"].number(0.0, 10.0);
  return pauses;
}

}  // namespace

bool CharacterSet::contains(char32_t character) const {
  const auto next = std::upper_bound(bounds_.begin(), bounds_.end(), character);
  const auto before = next - bounds_.begin();  // bounds that are not above the character
  return before % 2 == 1 || (before > 0 && *(next - 1) == character);
}

const std::string& TextTables::transliterate(char32_t character) const {
  static const std::string none;
  auto run = transliteration.upper_bound(character);
  if (run == transliteration.begin()) return none;
  --run;
  const std::size_t index = character - run->first;
  return index < run->second.size() ? run->second[index] : none;
}

// True if this capital sigma follows a cased character and does not precede one, apart from characters that are
// ignored: Unicode's condition Final_Sigma.
bool TextTables::ends_word(std::u32string_view text, std::size_t sigma) const {
  std::size_t before = sigma, after = sigma + 1;
  while (before > 0 && case_ignorable.contains(text[before - 1])) --before;
  while (after < text.size() && case_ignorable.contains(text[after])) ++after;
  return before > 0 && cased.contains(text[before - 1]) && !(after < text.size() && cased.contains(text[after]));
}

std::u32string TextTables::lower(std::u32string_view text) const {
  std::u32string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t character = text[i];
    if (character < 0x80) {
      result += character >= U'A' && character <= U'Z' ? character + 32 : character;
    } else if (character == capital_sigma) {
      result += ends_word(text, i) ? final_sigma : small_sigma;
    } else {
      const auto found = lower_case.find(character);
      if (found == lower_case.end())
        result += character;
      else
        result += found->second;
    }
  }
  return result;
}

TextTables parse_text_tables(std::string_view text, const std::string& source) {
  const auto json = parse_json(text, source);
  const JsonNode root(json, source + ": $");
  if (root["format"].integer(0, 1 << 20) != format) root["format"].fail("expected 1");
  TextTables tables;
  read_characters(root, tables);
  tables.numbers = read_numbers(root["numbers"]);
  tables.abbreviations = read_pairs(root["abbreviations"]);
  tables.before_more = read_words(root["before_more"]);
  tables.after_name = read_words(root["after_name"]);
  tables.before_number = read_words(root["before_number"]);
  tables.pauses = read_pauses(root["pauses"]);
  return tables;
}

TextTables load_text_tables(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return parse_text_tables(text, path.string());
}

}  // namespace tacoglow
