// Lexicons: how a voice says words that it gets wrong, by the rules of Python's text/lexicon.py.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text_tables.hpp"

namespace tacoglow {

// Words, and how they are said: respellings, or ARPAbet in braces; UTF-8.
using LexiconEntries = std::map<std::string, std::string>;

// Replaces words of a text. An entry is found whatever the case, unless it has two or more letters, all of them
// capitals, as "US". The longest entry wins, and an exact spelling. Plurals and possessives of an entry are found too.
class Lexicon {
 public:
  // Throws Error (request) for an entry without a word or without speech, and for entries that are too long or many.
  Lexicon(const LexiconEntries& entries, const TextTables& tables);

  bool empty() const { return exact_.next.empty(); }

  // Returns the text with its words replaced, but for what is in braces. Throws Error (request) if it becomes far too
  // long.
  Text apply(View text) const;

 private:
  using Tokens = std::vector<Text>;
  // Entries by their tokens.
  struct Tree {
    std::map<Text, std::unique_ptr<Tree>> next;
    Text spoken;  // for the entry that ends here; "" if none does
  };

  Tokens tokens_of(View text) const;
  Text lower(View text) const { return tables_.lower(text); }
  Tokens key_of(View word) const;
  Tokens lower_all(Tokens tokens) const;
  void add(View word, const Text& spoken);
  bool is_spoken(char32_t character) const;
  void replace(View text, Text& result) const;
  std::pair<std::optional<Text>, std::size_t> find(const Tokens& plain, const Tokens& folded, std::size_t first) const;
  static void plant(Tree& tree, const Tokens& key, const Text& spoken);
  static const Tree& next(const Tree& tree, const Text& token);
  std::vector<std::pair<Text, Text>> forms(Text token) const;
  Text inflected(const Text& spoken, const Text& ending) const;

  const TextTables& tables_;
  const Pattern& token_ = tables_.pattern("lexicon.token");
  Tree exact_, any_case_;  // the entries as they are spelled, and in lower case
};

// Reads a file's content, a line "word = spoken" for each entry; empty lines, and lines that begin with #, mean
// nothing. Throws Error (request) that names the line.
LexiconEntries parse_lexicon(std::string_view text, const TextTables& tables);

}  // namespace tacoglow
