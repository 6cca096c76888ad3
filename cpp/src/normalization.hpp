// Unicode's normalization forms, with the tables of Python's unicodedata from the bundle.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>

#include "unicode.hpp"

namespace tacoglow {

class Normalization {
 public:
  // The text with an accent after its letter as one character with it: Unicode's NFC.
  Text compose(View text) const;

  // Unicode's compatibility forms NFKC and NFKD.
  Text compose_compatible(View text) const { return composed(decomposed(text, true)); }
  Text decompose_compatible(View text) const { return decomposed(text, true); }

  std::unordered_map<char32_t, Text> canonical, compatible;        // complete decompositions of a character
  std::unordered_map<char32_t, std::uint8_t> classes;              // combining classes other than 0
  std::map<std::pair<char32_t, char32_t>, char32_t> compositions;  // of two characters

 private:
  Text decomposed(View text, bool is_compatible) const;
  Text composed(Text text) const;
  void decompose(char32_t character, bool is_compatible, Text& result) const;
  std::uint8_t class_of(char32_t character) const;
};

}  // namespace tacoglow
