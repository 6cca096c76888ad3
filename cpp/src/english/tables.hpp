// Words of English notations: Python's text/english/tables.py, from the bundle.
#pragma once

#include <array>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pattern.hpp"
#include "unicode.hpp"

namespace tacoglow {

struct EnglishTables {
  struct Currency {
    Text one, many, cent, cents;
  };
  struct Unit {
    Text one, many;
  };
  struct Abbreviation {
    Text spoken;
    bool may_end;  // a sentence, which then keeps its full stop
  };

  std::vector<Text> months;
  std::map<Text, Text> short_months, short_weekdays;
  Text kept;  // characters that the rules see beside ASCII
  std::unordered_map<char32_t, Text> before, superscripts, vulgar, after;
  std::map<Text, Text> address_signs, scales, per, words;
  std::map<Text, Currency> currencies;
  std::map<Text, Unit> units;
  std::array<Text, 2> cents_sign;
  std::map<std::int64_t, Unit> denominators;
  std::set<std::int64_t> denominators_read;
  std::map<std::pair<std::int64_t, std::int64_t>, Text> not_fractions;
  std::map<Text, Abbreviation> abbreviations;
  std::vector<std::pair<Pattern, Text>> signs;  // between and before numbers -> words
};

}  // namespace tacoglow
