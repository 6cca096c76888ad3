// The text front end of a voice: converts text to token ids, and splits long texts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lexicon.hpp"
#include "manifest.hpp"
#include "pauses.hpp"
#include "sequence.hpp"
#include "unicode.hpp"
#include "words.hpp"

namespace tacoglow {

// A part of a text that fits the voice's token limit.
struct Piece {
  std::string text;  // UTF-8; "" if only ids were given
  std::vector<std::int32_t> ids;
  double pause = 0;             // seconds of silence after it
  double pause_before = 0;      // seconds of silence before it; only before the first one
  double rate = 1, volume = 1;  // times the request's
};

struct PreparedText {
  std::vector<Piece> pieces;
  std::vector<std::string> dropped;  // what has no symbol, each once: characters, and "{PHONE}"
  std::vector<std::string> remarks;  // for people: what else is not spoken as the text asks
};

// How a text is split and read.
struct TextOptions {
  std::int64_t max_tokens = 0;    // of a piece
  double sentence_silence = -1;   // seconds of silence between sentences, which are then all spoken by themselves;
                                  // negative: none
  std::string_view lexicon = {};  // of this text, as in a lexicon's file; applied before the voice's
  bool is_ssml = false;
};

// Returns for each symbol whether it is a letter, a digit or a phone, and not a space or punctuation.
std::vector<bool> find_letters(const std::vector<std::string>& symbols, const TextTables& tables);

class FrontEnd {
 public:
  FrontEnd(const Manifest& manifest, std::unique_ptr<const TextTables> tables);

  // Returns the same ids as Python's FrontEnd.encode for a text, in pieces as runtime/pieces.py. Throws Error (request)
  // if the text is not UTF-8 or nothing of it can be spoken.
  PreparedText prepare(std::string_view text, const TextOptions& options) const;

  // Returns the ids of a text in one piece.
  std::vector<std::int32_t> encode(std::string_view text) const;

  // Returns the words of a text as they are written, in order, each with its tokens among those of `encode`.
  std::vector<SpokenWord> words(std::string_view text) const;

  const Pauses& pauses() const { return tables_->pauses; }

 private:
  friend class TextPieces;

  Encoded encode(View text) const;
  Encoded encode_unmarked(View text) const;  // without the final mark
  Encoded encode_part(View text) const;      // the same of a part, as it is
  Encoded encode_or_throw(View text) const;
  std::int64_t count_tokens(View text) const;
  std::vector<std::string> remarks(const std::vector<std::int32_t>& ids) const;
  bool is_audible(const std::vector<std::int32_t>& ids) const;
  void end(std::vector<std::int32_t>& ids) const;
  [[noreturn]] void reject(View text, const std::vector<Text>& dropped) const;

  std::unique_ptr<const TextTables> tables_;
  SymbolTable symbols_;
  Cleaners cleaners_;
  Lexicon lexicon_;
  std::set<std::string> untrained_;              // symbols whose weights no training has changed
  bool with_equivalents_;                        // false for the published voices, whose ids are NVIDIA's to the letter
  std::vector<bool> is_space_;                   // by id
  std::vector<bool> is_letter_;                  // by id: true for letters, digits and phones
  std::int32_t final_mark_ = SymbolTable::none;  // its id
};

// Returns why this voice accepts only token ids; "" if it accepts text.
std::string text_unsupported_reason(const Manifest& manifest);

}  // namespace tacoglow
