#include "text.hpp"

#include <algorithm>
#include <utility>

#include "braces.hpp"
#include "error.hpp"
#include "pauses.hpp"
#include "split.hpp"
#include "unicode.hpp"

namespace tacoglow {
namespace {

using View = std::u32string_view;

constexpr std::size_t most_named = 10;  // names in one message

void add_once(std::vector<std::string>& names, std::string name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

std::string name_some(const std::vector<std::string>& names) {
  std::string listing;
  for (std::size_t i = 0; i < std::min(names.size(), most_named); ++i) listing += (i == 0 ? "" : ", ") + names[i];
  const std::string rest = std::to_string(names.size() - std::min(names.size(), most_named));
  return names.size() > most_named ? listing + " and " + rest + " more" : listing;
}

}  // namespace

std::vector<Span> brace_groups(View text) {
  std::vector<Span> groups;
  for (std::size_t open = text.find(U'{'); open != View::npos; open = text.find(U'{', groups.back().stop)) {
    const std::size_t close = text.find(U'}', open + 2);  // "{}" is not a group
    if (close == View::npos) break;
    groups.push_back({open, close + 1});
  }
  return groups;
}

std::string text_unsupported_reason(const Manifest& manifest) {
  for (const auto& name : manifest.cleaners)
    if (find_cleaner(name) == nullptr)
      return "text: this version does not have the voice's cleaner '" + name + "'; upgrade tacoglow or give token ids";
  return "";
}

FrontEnd::FrontEnd(const Manifest& manifest, TextTables tables)
    : tables_(std::move(tables)), transliterates_(tacoglow::transliterates(manifest.cleaners)) {
  for (const auto& name : manifest.cleaners) cleaners_.push_back(find_cleaner(name));
  for (std::size_t i = 0; i < manifest.symbols.size(); ++i) {
    const std::u32string symbol = from_utf8(manifest.symbols[i]);
    if (symbol != U"_" && symbol != U"~") ids_[symbol] = static_cast<std::int32_t>(i);
    is_space_.push_back(!symbol.empty() && std::all_of(symbol.begin(), symbol.end(), [&](char32_t character) {
      return tables_.whitespace.contains(character);
    }));
    is_letter_.push_back(std::any_of(symbol.begin(), symbol.end(),
                                     [&](char32_t character) { return tables_.alphanumeric.contains(character); }));
    if (manifest.symbols[i] == manifest.final_mark) final_mark_ = static_cast<std::int32_t>(i);
    spells_phones_ = spells_phones_ || (symbol.size() > 1 && symbol[0] == U'@');
  }
}

std::vector<std::int32_t> FrontEnd::encode(std::string_view text) const { return encode_or_throw(from_utf8(text)).ids; }

PreparedText FrontEnd::prepare(std::string_view given, std::int64_t max_tokens, double sentence_silence) const {
  PausedText paused = split_at_pauses(from_utf8(given), tables_);
  std::u32string text;
  for (const auto& part : paused.parts) text += (text.empty() ? U"" : U" ") + part.text;
  Encoded encoded = encode_or_throw(text);
  PreparedText prepared;
  prepared.dropped = std::move(encoded.dropped);
  std::vector<Piece>& pieces = prepared.pieces;
  if (paused.parts.size() == 1 && static_cast<std::int64_t>(encoded.ids.size()) <= max_tokens &&
      sentence_silence < 0.0) {
    pieces.push_back({to_utf8(text), std::move(encoded.ids), paused.parts.front().pause, paused.before});
    return prepared;
  }
  const auto count = [this](View piece) { return count_tokens(piece); };
  for (const auto& part : paused.parts) {
    const std::size_t before = pieces.size();
    for (const auto& own : split_text(collapse_and_strip(part.text, tables_), max_tokens, count, tables_)) {
      std::vector<std::int32_t> ids = encode(View(own)).ids;
      if (is_audible(ids)) pieces.push_back({to_utf8(own), std::move(ids), pause_after(own, sentence_silence), 0.0});
    }
    if (pieces.size() > before)
      pieces.back().pause = part.pause;
    else
      (pieces.empty() ? paused.before : pieces.back().pause) += part.pause;
  }
  pieces.front().pause_before = paused.before;  // encode_or_throw has found something audible
  return prepared;
}

FrontEnd::Encoded FrontEnd::encode_or_throw(View text) const {
  Encoded encoded = encode(text);
  if (is_audible(encoded.ids)) return encoded;
  if (collapse_and_strip(text, tables_).empty()) throw request_error("text: the text is empty");
  const std::string lost =
      encoded.dropped.empty() ? "" : "; this voice has no symbol for: " + name_some(encoded.dropped);
  throw request_error("text: nothing of it can be spoken" + lost +
                      "; give at least one character from the voice's symbol list");
}

std::int64_t FrontEnd::count_tokens(View text) const {
  const auto ids = encode(text).ids;
  return is_audible(ids) ? static_cast<std::int64_t>(ids.size()) : 0;
}

bool FrontEnd::is_audible(const std::vector<std::int32_t>& ids) const {
  return std::any_of(ids.begin(), ids.end(), [&](std::int32_t id) { return !is_space_[static_cast<std::size_t>(id)]; });
}

// Returns the seconds of silence that fit the punctuation at the end of a piece; sentence_silence, unless negative,
// after a sentence, whose marks are the first in the table.
double FrontEnd::pause_after(View piece, double sentence_silence) const {
  const Pauses& pauses = tables_.pauses;
  const std::size_t last = piece.find_last_not_of(pauses.closing);
  const char32_t end = last == View::npos ? piece.back() : piece[last];
  if (sentence_silence >= 0.0 && pauses.by_mark.front().first.find(end) != std::u32string::npos)
    return sentence_silence;
  for (const auto& [marks, seconds] : pauses.by_mark)
    if (marks.find(end) != std::u32string::npos) return seconds;
  return pauses.within_clause;
}

FrontEnd::Encoded FrontEnd::encode(View raw) const {
  const std::u32string text = collapse_and_strip(raw, tables_);
  Encoded encoded;
  std::size_t done = 0;
  for (const auto [start, stop] : brace_groups(text)) {
    add_plain(View(text).substr(done, start - done), encoded);
    add_braces(View(text).substr(start + 1, stop - start - 2), encoded);
    done = stop;
  }
  add_plain(View(text).substr(done), encoded);
  if (final_mark_ >= 0) end(encoded.ids);
  return encoded;
}

// Adds the final mark to a text that ends with a letter, whatever spaces come after it.
void FrontEnd::end(std::vector<std::int32_t>& ids) const {
  const auto last =
      std::find_if(ids.rbegin(), ids.rend(), [&](std::int32_t id) { return !is_space_[static_cast<std::size_t>(id)]; });
  if (last == ids.rend() || !is_letter_[static_cast<std::size_t>(*last)]) return;
  ids.erase(last.base(), ids.end());
  ids.push_back(final_mark_);
}

void FrontEnd::add_plain(View text, Encoded& encoded) const {
  if (transliterates_)
    for (const char32_t character : text)
      if (character >= 0x80 && !tables_.silent.contains(character) && tables_.transliterate(character).empty())
        add_once(encoded.dropped, to_utf8(View(&character, 1)));
  std::u32string cleaned(text);
  for (const Cleaner clean : cleaners_) cleaned = clean(cleaned, tables_);
  for (const char32_t character : cleaned) add_symbol(View(&character, 1), View(&character, 1), encoded);
}

void FrontEnd::add_braces(View text, Encoded& encoded) const {
  std::u32string token;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] != U' ') {
      token += text[i];
    } else if (!token.empty()) {
      add_symbol(spells_phones_ ? U"@" + token : token, U"{" + token + U"}", encoded);
      token.clear();
    }
  }
}

void FrontEnd::add_symbol(View symbol, View shown, Encoded& encoded) const {
  const auto found = ids_.find(std::u32string(symbol));
  if (found != ids_.end())
    encoded.ids.push_back(found->second);
  else
    add_once(encoded.dropped, to_utf8(shown));
}

}  // namespace tacoglow
