// The data of the text front end, read from the bundle; export/text_tables.py writes it and describes its layout.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "character_set.hpp"
#include "english/tables.hpp"
#include "normalization.hpp"
#include "pattern.hpp"
#include "ssml_tables.hpp"
#include "unicode.hpp"

namespace tacoglow {

struct NumberWords {
  std::vector<Text> units, teens, tens, powers;  // powers of 1000; powers[0] is empty
  std::vector<std::pair<Text, Text>> ordinals;   // ending of a cardinal -> of its ordinal
};

// Words whose full stop may not end a sentence, and words after it that decide.
struct SentenceWords {
  std::set<Text> before_more, after_name, before_number, after_number, dates, starters, after_time;
};

struct Pauses {
  std::vector<std::pair<Text, double>> by_mark;  // marks at the end of a piece -> seconds
  double within_clause = 0;                      // seconds
  double paragraph = 0;                          // seconds, at least, after a paragraph
  Text closing;                                  // quotes and brackets that may follow the mark
  double fade = 0;                               // seconds
};

// Patterns refer to the sets, so that tables stay where they were made.
struct TextTables {
  TextTables() = default;
  TextTables(const TextTables&) = delete;
  TextTables& operator=(const TextTables&) = delete;

  // ASCII text of a character beyond ASCII; "" if there is none.
  const std::string& transliterate(char32_t character) const;

  Text lower(View text) const;
  Text strip(View text) const;
  Text strip_right(View text) const;
  // True if a text has letters with case, and all of them are lower, or upper.
  bool is_lower(View text) const;
  bool is_upper(View text) const;

  // A pattern of Python's module.name. Throws Error (bundle) if there is none.
  const Pattern& pattern(const std::string& name) const;

  std::string source;
  std::map<char32_t, std::vector<std::string>> transliteration;  // first code point of a run -> texts of the run
  std::unordered_map<char32_t, Text> lower_case;
  CharacterSet cased, case_ignorable, alphabetic, alphanumeric, lowercase, uppercase, titlecase, digits, printable,
      silent, whitespace;
  Normalization normalization;
  std::unordered_map<char32_t, std::vector<Text>> equivalents;  // tried before those of Unicode
  NumberWords numbers;
  std::vector<std::pair<Text, Text>> abbreviations;
  SentenceWords sentences;
  Pauses pauses;
  EnglishTables english;
  SsmlTables ssml;
  std::map<std::string, Pattern> patterns;

 private:
  bool ends_word(View text, std::size_t sigma) const;
};

// Throws Error (bundle).
std::unique_ptr<const TextTables> parse_text_tables(std::string_view json, const std::string& source);

}  // namespace tacoglow
