// The text front end of a voice: converts text to token ids, and splits long texts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cleaners.hpp"
#include "manifest.hpp"
#include "text_tables.hpp"

namespace tacoglow {

// A part of a text that fits the voice's token limit.
struct Piece {
  std::string text;  // UTF-8; "" if only ids were given
  std::vector<std::int32_t> ids;
  double pause = 0;         // seconds of silence after it
  double pause_before = 0;  // seconds of silence before it; only before the first one
};

struct PreparedText {
  std::vector<Piece> pieces;
  std::vector<std::string> dropped;  // what has no symbol, each once: characters, and "{PHONE}"
};

class FrontEnd {
 public:
  FrontEnd(const Manifest& manifest, TextTables tables);

  // Returns the same ids as Python's FrontEnd.encode for a text, in pieces as runtime/pieces.py. Throws Error (request)
  // if the text is not UTF-8 or nothing of it can be spoken. sentence_silence: seconds of silence between sentences,
  // which are then all spoken by themselves; negative: none.
  PreparedText prepare(std::string_view text, std::int64_t max_tokens, double sentence_silence = -1.0) const;

  // Returns the ids of a text in one piece.
  std::vector<std::int32_t> encode(std::string_view text) const;

  const Pauses& pauses() const { return tables_.pauses; }

 private:
  struct Encoded {
    std::vector<std::int32_t> ids;
    std::vector<std::string> dropped;
  };

  Encoded encode(std::u32string_view text) const;
  Encoded encode_or_throw(std::u32string_view text) const;
  std::int64_t count_tokens(std::u32string_view text) const;
  bool is_audible(const std::vector<std::int32_t>& ids) const;
  double pause_after(std::u32string_view piece, double sentence_silence) const;
  void end(std::vector<std::int32_t>& ids) const;
  void add_plain(std::u32string_view text, Encoded& encoded) const;
  void add_braces(std::u32string_view text, Encoded& encoded) const;
  void add_symbol(std::u32string_view symbol, std::u32string_view shown, Encoded& encoded) const;

  TextTables tables_;
  std::vector<Cleaner> cleaners_;
  bool transliterates_;
  std::unordered_map<std::u32string, std::int32_t> ids_;  // without the padding symbols "_" and "~"
  std::vector<bool> is_space_;                            // by id
  std::vector<bool> is_letter_;                           // by id: true for letters, digits and phones
  std::int32_t final_mark_ = -1;                          // its id; -1: none
  bool spells_phones_ = false;                            // braces contain ARPAbet phones, whose symbols begin with "@"
};

// Returns why this voice accepts only token ids; "" if it accepts text.
std::string text_unsupported_reason(const Manifest& manifest);

}  // namespace tacoglow
