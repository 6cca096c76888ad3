// Reads the text front end's data from JSON, as export/text_tables.py writes it.

#include "text_tables.hpp"

#include <algorithm>

#include "error.hpp"
#include "json_node.hpp"
#include "unicode.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t format = 1;
constexpr char separator = '\x1f';
constexpr std::int64_t code_max = 0x10FFFF;

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

Text read_text(const JsonNode& node) {
  try {
    return from_utf8(node.text());
  } catch (const Error&) {
    node.fail("expected UTF-8");
  }
}

char32_t read_character(const JsonNode& node) {
  const Text text = read_text(node);
  if (text.size() != 1) node.fail("expected one character");
  return text[0];
}

std::vector<Text> read_texts(const JsonNode& node, std::size_t count) {
  std::vector<Text> texts;
  for (const auto& item : node.items()) texts.push_back(read_text(item));
  if (texts.size() != count) node.fail("expected " + std::to_string(count) + " items");
  return texts;
}

std::set<Text> read_words(const JsonNode& node) {
  std::set<Text> words;
  for (const auto& item : node.items()) words.insert(read_text(item));
  return words;
}

std::pair<JsonNode, JsonNode> read_pair(const JsonNode& node) {
  auto items = node.items();
  if (items.size() != 2) node.fail("expected two items");
  return {items[0], items[1]};
}

std::vector<std::pair<Text, Text>> read_pairs(const JsonNode& node) {
  std::vector<std::pair<Text, Text>> pairs;
  for (const auto& item : node.items()) {
    const auto [first, second] = read_pair(item);
    pairs.emplace_back(read_text(first), read_text(second));
    if (pairs.back().first.empty()) first.fail("expected at least one character");
  }
  return pairs;
}

std::map<Text, Text> read_map(const JsonNode& node) {
  const auto pairs = read_pairs(node);
  return {pairs.begin(), pairs.end()};
}

std::unordered_map<char32_t, Text> read_by_character(const JsonNode& node) {
  std::unordered_map<char32_t, Text> texts;
  for (const auto& item : node.items()) {
    const auto [character, text] = read_pair(item);
    texts[read_character(character)] = read_text(text);
  }
  return texts;
}

std::vector<char32_t> read_bounds(const JsonNode& node) {
  std::vector<char32_t> bounds;
  for (const auto& code : node.integers(0, code_max)) bounds.push_back(static_cast<char32_t>(code));
  if (bounds.size() % 2 != 0 || !std::is_sorted(bounds.begin(), bounds.end())) node.fail("expected ascending ranges");
  return bounds;
}

CharacterSet read_set(const JsonNode& node) { return CharacterSet(read_bounds(node)); }

void read_characters(const JsonNode& root, TextTables& tables) {
  for (const auto& run : root["transliteration"].items()) {
    const auto [first, texts] = read_pair(run);
    tables.transliteration[static_cast<char32_t>(first.integer(0x80, code_max))] = split(texts.text());
  }
  tables.lower_case = read_by_character(root["lower"]);
  tables.cased = read_set(root["cased"]);
  tables.case_ignorable = read_set(root["case_ignorable"]);
  tables.alphabetic = read_set(root["alphabetic"]);
  tables.alphanumeric = read_set(root["alphanumeric"]);
  tables.lowercase = read_set(root["lowercase"]);
  tables.uppercase = read_set(root["uppercase"]);
  tables.titlecase = read_set(root["titlecase"]);
  tables.digits = read_set(root["digits"]);
  tables.printable = read_set(root["printable"]);
  tables.silent = read_set(root["silent"]);
  tables.whitespace = read_set(root["whitespace"]);
  for (const auto& item : root["equivalents"].items()) {
    const auto [character, texts] = read_pair(item);
    for (const auto& text : texts.items()) tables.equivalents[read_character(character)].push_back(read_text(text));
  }
}

// Reads a list of two texts: characters, and what belongs to each, with separators between.
std::unordered_map<char32_t, Text> read_columns(const JsonNode& node) {
  const auto [first, second] = read_pair(node);
  const Text characters = read_text(first);
  const auto texts = split(second.text());
  if (characters.size() != texts.size()) node.fail("expected as many texts as characters");
  std::unordered_map<char32_t, Text> columns;
  for (std::size_t i = 0; i < texts.size(); ++i) columns[characters[i]] = from_utf8(texts[i]);
  return columns;
}

void read_normalization(const JsonNode& node, Normalization& normalization) {
  normalization.canonical = read_columns(node["canonical"]);
  normalization.compatible = read_columns(node["compatible"]);
  for (const auto& item : node["classes"].items()) {
    const auto [number, ranges] = read_pair(item);
    const auto own = static_cast<std::uint8_t>(number.integer(1, 255));
    const auto bounds = read_bounds(ranges);
    for (std::size_t i = 0; i < bounds.size(); i += 2)
      for (char32_t c = bounds[i]; c <= bounds[i + 1]; ++c) normalization.classes[c] = own;
  }
  for (const auto& [composed, parts] : read_columns(node["compositions"])) {
    if (parts.size() != 2) node["compositions"].fail("expected two characters for each");
    normalization.compositions[{parts[0], parts[1]}] = composed;
  }
}

SentenceWords read_sentence_words(const JsonNode& root) {
  return {read_words(root["before_more"]),  read_words(root["after_name"]), read_words(root["before_number"]),
          read_words(root["after_number"]), read_words(root["dates"]),      read_words(root["starters"]),
          read_words(root["after_time"])};
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
  pauses.paragraph = node["paragraph"].number(0.0, 10.0);
  pauses.closing = read_text(node["closing"]);
  pauses.fade = node["fade"].number(0.0, 10.0);
  return pauses;
}

Pattern read_pattern(const std::string& name, const JsonNode& node, const TextTables& tables) {
  const auto [source, flags] = read_pair(node);
  return Pattern(tables.source + ": pattern " + name, read_text(source), flags.text(), tables.alphanumeric,
                 tables.whitespace);
}

EnglishTables::Unit read_unit(const JsonNode& node) {
  const auto texts = read_texts(node, 2);
  return {texts[0], texts[1]};
}

EnglishTables read_english(const JsonNode& node, const TextTables& tables) {
  EnglishTables english;
  english.months = read_texts(node["months"], 12);
  english.short_months = read_map(node["short_months"]);
  english.short_weekdays = read_map(node["short_weekdays"]);
  english.kept = read_text(node["kept"]);
  english.before = read_by_character(node["before"]);
  english.superscripts = read_by_character(node["superscripts"]);
  english.vulgar = read_by_character(node["vulgar"]);
  english.after = read_by_character(node["after"]);
  english.address_signs = read_map(node["address_signs"]);
  english.scales = read_map(node["scales"]);
  english.per = read_map(node["per"]);
  english.words = read_map(node["words"]);
  for (const auto& item : node["currencies"].items()) {
    const auto [symbol, names] = read_pair(item);
    const auto texts = read_texts(names, 4);
    english.currencies[read_text(symbol)] = {texts[0], texts[1], texts[2], texts[3]};
  }
  for (const auto& item : node["units"].items()) {
    const auto [spelling, names] = read_pair(item);
    english.units[read_text(spelling)] = read_unit(names);
  }
  const auto cents = read_texts(node["cents_sign"], 2);
  english.cents_sign = {cents[0], cents[1]};
  for (const auto& item : node["denominators"].items()) {
    const auto [number, names] = read_pair(item);
    english.denominators[number.integer(1, code_max)] = read_unit(names);
  }
  for (const auto number : node["denominators_read"].integers(1, code_max)) english.denominators_read.insert(number);
  for (const auto& item : node["not_fractions"].items()) {
    const auto [parts, spoken] = read_pair(item);
    const auto [top, bottom] = read_pair(parts);
    english.not_fractions[{top.integer(0, code_max), bottom.integer(0, code_max)}] = read_text(spoken);
  }
  for (const auto& item : node["abbreviations"].items()) {
    const auto [name, meaning] = read_pair(item);
    const auto [spoken, may_end] = read_pair(meaning);
    english.abbreviations[read_text(name)] = {read_text(spoken), may_end.boolean()};
  }
  for (const auto& item : node["signs"].items()) {
    const auto [pattern, spoken] = read_pair(item);
    english.signs.emplace_back(read_pattern("signs", pattern, tables), read_text(spoken));
  }
  return english;
}

std::set<std::string> read_names(const JsonNode& node) {
  std::set<std::string> names;
  for (const auto& item : node.items()) names.insert(item.text());
  return names;
}

// Reads numbers by name; listing: the names in their order.
std::map<std::string, double> read_factors(const JsonNode& node, std::string& listing) {
  std::map<std::string, double> factors;
  for (const auto& item : node.items()) {
    const auto [name, value] = read_pair(item);
    factors[name.text()] = value.number(0.0, 10.0);
    listing += (listing.empty() ? "" : ", ") + name.text();
  }
  return factors;
}

std::pair<double, double> read_range(const JsonNode& node) {
  const auto [least, most] = read_pair(node);
  return {least.number(0.0, 10.0), most.number(0.0, 10.0)};
}

SsmlTables read_ssml(const JsonNode& node) {
  SsmlTables ssml;
  ssml.characters_max = static_cast<std::size_t>(node["characters_max"].integer(1, 1 << 30));
  ssml.depth_max = static_cast<std::size_t>(node["depth_max"].integer(1, 1 << 20));
  ssml.remarks_max = static_cast<std::size_t>(node["remarks_max"].integer(1, 1 << 20));
  ssml.rate_range = read_range(node["rate_range"]);
  ssml.volume_range = read_range(node["volume_range"]);
  ssml.strengths = read_factors(node["strengths"], ssml.strength_names);
  ssml.rates = read_factors(node["rates"], ssml.rate_names);
  ssml.volumes = read_factors(node["volumes"], ssml.volume_names);
  ssml.alphabets = read_names(node["alphabets"]);
  ssml.plain = read_names(node["plain"]);
  ssml.unspoken = read_names(node["unspoken"]);
  return ssml;
}

}  // namespace

std::unique_ptr<const TextTables> parse_text_tables(std::string_view text, const std::string& source) {
  const auto json = parse_json(text, source);
  const JsonNode root(json, source + ": $");
  if (root["format"].integer(0, 1 << 20) != format) root["format"].fail("expected 1");
  auto tables = std::make_unique<TextTables>();
  tables->source = source;
  read_characters(root, *tables);
  read_normalization(root["normalization"], tables->normalization);
  tables->numbers = read_numbers(root["numbers"]);
  tables->abbreviations = read_pairs(root["abbreviations"]);
  tables->sentences = read_sentence_words(root);
  tables->pauses = read_pauses(root["pauses"]);
  for (const auto& [name, node] : root["patterns"].fields())
    tables->patterns.emplace(name, read_pattern(name, node, *tables));
  tables->english = read_english(root["english"], *tables);
  tables->ssml = read_ssml(root["ssml"]);
  return tables;
}

}  // namespace tacoglow
