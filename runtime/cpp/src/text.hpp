// Text -> token ids, for voices whose cleaners need no tables: ASCII, lower case, whitespace.
//
// Numbers, abbreviations and transliteration are the Python front end's; a voice that needs them takes ids only.
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

  // The ids that Python's FrontEnd.encode gives. What the voice has no symbol for is left out.
  // Throws Error (request) if the voice's cleaners are not simple, for a character beyond ASCII, or if nothing of the
  // text can be spoken.
  std::vector<std::int32_t> encode(std::string_view text) const;

 private:
  void add_plain(std::string_view text, std::vector<std::int32_t>& ids) const;
  void add_braces(std::string_view text, std::vector<std::int32_t>& ids) const;
  void add_symbol(const std::string& symbol, std::vector<std::int32_t>& ids) const;

  std::map<std::string, std::int32_t> ids_;  // without the marks that are never spoken
  std::int32_t space_ = -1;                  // id of " ", which alone is no speech; -1: none
  bool lowers_ = false;                      // letters outside braces
  bool spells_phones_ = false;               // braces hold ARPAbet, which the symbols mark with "@"
  std::string unsupported_reason_;           // why the voice takes no text
};

}  // namespace tacoglow
