// The data of the text front end, read from the bundle; export/text_tables.py writes it and describes its layout.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tacoglow {

// A set of code points.
class CharacterSet {
 public:
  CharacterSet() = default;
  explicit CharacterSet(std::vector<char32_t> bounds) : bounds_(std::move(bounds)) {}

  bool contains(char32_t character) const;

 private:
  std::vector<char32_t> bounds_;  // first, last, first, last, ... in ascending order
};

struct NumberWords {
  std::vector<std::u32string> units, teens, tens, powers;           // powers of 1000; powers[0] is empty
  std::vector<std::pair<std::u32string, std::u32string>> ordinals;  // ending of a cardinal -> of its ordinal
};

struct Pauses {
  std::vector<std::pair<std::u32string, double>> by_mark;  // marks at the end of a piece -> seconds
  double within_clause = 0;                                // seconds
  std::u32string closing;                                  // quotes and brackets that may follow the mark
  double fade = 0;                                         // seconds
};

struct TextTables {
  // ASCII text of a character beyond ASCII; "" if there is none.
  const std::string& transliterate(char32_t character) const;

  std::u32string lower(std::u32string_view text) const;

  std::map<char32_t, std::vector<std::string>> transliteration;  // first code point of a run -> texts of the run
  std::unordered_map<char32_t, std::u32string> lower_case;
  CharacterSet cased, case_ignorable, alphanumeric, lowercase, digits, silent, whitespace;
  NumberWords numbers;
  std::vector<std::pair<std::u32string, std::u32string>> abbreviations;
  std::set<std::u32string> before_more, after_name, before_number;
  Pauses pauses;

 private:
  bool ends_word(std::u32string_view text, std::size_t sigma) const;
};

// Throws Error (bundle).
TextTables parse_text_tables(std::string_view json, const std::string& source);
TextTables load_text_tables(const std::filesystem::path& path);

}  // namespace tacoglow
