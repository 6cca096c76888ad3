// Converts ASCII text to token ids, for voices whose cleaners change only case and whitespace.
//
// Numbers, abbreviations and transliteration need the Python front end; voices with such cleaners accept only ids.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "manifest.hpp"

namespace tacoglow {

class TextTable {
 public:
  explicit TextTable(const Manifest& manifest);

  bool takes_text() const { return unsupported_reason_.empty(); }

  // Returns the same ids as Python's FrontEnd.encode. Characters without a symbol are dropped. Throws Error (request)
  // if the voice's cleaners are not supported, the text is not ASCII, or no speakable symbol remains.
  std::vector<std::int32_t> encode(std::string_view text) const;

 private:
  void add_plain(std::string_view text, std::vector<std::int32_t>& ids) const;
  void add_braces(std::string_view text, std::vector<std::int32_t>& ids) const;
  void add_symbol(const std::string& symbol, std::vector<std::int32_t>& ids) const;

  std::map<std::string, std::int32_t> ids_;  // without the padding symbols "_" and "~"
  std::int32_t space_ = -1;                  // id of " "; -1: none
  bool lowers_ = false;                      // converts letters outside braces to lower case
  bool spells_phones_ = false;               // braces contain ARPAbet phones, whose symbols begin with "@"
  std::string unsupported_reason_;           // why the voice does not accept text; empty if it does
};

}  // namespace tacoglow
