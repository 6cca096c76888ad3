// Converts text to token ids, by the rules of Python's text/sequence.py.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cleaners.hpp"

namespace tacoglow {

// Names, each once and in the order in which they were added.
class Names {
 public:
  void add(Text name) {
    if (seen_.insert(name).second) names_.push_back(std::move(name));
  }
  const std::vector<Text>& list() const { return names_; }

 private:
  std::vector<Text> names_;
  std::unordered_set<Text> seen_;
};

struct Encoded {
  std::vector<std::int32_t> ids;
  Names dropped;  // characters, phones as "{PHONE}", and the lines after the first, which begin with their line break
};

class SymbolTable {
 public:
  explicit SymbolTable(const std::vector<std::string>& symbols);  // UTF-8, in id order

  static constexpr std::int32_t none = -1;
  std::int32_t id_of(const Text& symbol) const;
  bool has(char32_t character) const { return id_of(Text(1, character)) != none; }

  // Returns the symbol that a token in braces means: a phone, or any symbol if the list has no phones.
  Text braced(const Text& token) const { return spells_phones_ ? U"@" + token : token; }

  // Returns a symbol without the mark of a phone.
  Text name_of(std::int32_t id) const;

  const std::vector<Text>& symbols() const { return symbols_; }

 private:
  std::vector<Text> symbols_;
  std::unordered_map<Text, std::int32_t> ids_;  // without the padding symbols "_" and "~"
  bool spells_phones_ = false;                  // braces contain ARPAbet phones, whose symbols begin with "@"
};

// with_equivalents: a character without a symbol is spoken by an equivalent that has one, and what is dropped between
// two words leaves a space.
Encoded encode_text(View text, const Cleaners& cleaners, const SymbolTable& symbols, bool with_equivalents,
                    const TextTables& tables);

}  // namespace tacoglow
