#include "text.hpp"

#include <algorithm>
#include <utility>

#include "error.hpp"

namespace tacoglow {
namespace {

constexpr std::size_t most_named = 10;  // names in one message

std::string name_some(const std::vector<Text>& names) {
  std::string listing;
  for (std::size_t i = 0; i < std::min(names.size(), most_named); ++i)
    listing += (i == 0 ? "" : ", ") + to_utf8(names[i]);
  const std::string rest = std::to_string(names.size() - std::min(names.size(), most_named));
  return names.size() > most_named ? listing + " and " + rest + " more" : listing;
}

}  // namespace

std::string text_unsupported_reason(const Manifest& manifest) {
  for (const auto& name : manifest.cleaners)
    if (!is_cleaner(name))
      return "text: this version does not have the voice's cleaner '" + name + "'; upgrade tacoglow or give token ids";
  return "";
}

std::vector<bool> find_letters(const std::vector<std::string>& symbols, const TextTables& tables) {
  std::vector<bool> letters;
  for (const auto& symbol : symbols) {
    const Text characters = from_utf8(symbol);
    letters.push_back(std::any_of(characters.begin(), characters.end(),
                                  [&](char32_t character) { return tables.alphanumeric.contains(character); }));
  }
  return letters;
}

FrontEnd::FrontEnd(const Manifest& manifest, std::unique_ptr<const TextTables> tables)
    : tables_(std::move(tables)),
      symbols_(manifest.symbols),
      cleaners_(manifest.cleaners, *tables_),
      lexicon_(manifest.lexicon, *tables_),
      untrained_(manifest.untrained.begin(), manifest.untrained.end()),
      with_equivalents_(std::find(manifest.cleaners.begin(), manifest.cleaners.end(), "english_cleaners") ==
                        manifest.cleaners.end()),
      is_letter_(find_letters(manifest.symbols, *tables_)) {
  for (const Text& symbol : symbols_.symbols()) is_space_.push_back(!symbol.empty() && tables_->strip(symbol).empty());
  if (!manifest.final_mark.empty()) final_mark_ = symbols_.id_of(from_utf8(manifest.final_mark));
}

std::vector<std::int32_t> FrontEnd::encode(std::string_view text) const { return encode_or_throw(from_utf8(text)).ids; }

Encoded FrontEnd::encode_or_throw(View text) const {
  Encoded encoded = encode(text);
  if (!is_audible(encoded.ids)) reject(text, encoded.dropped.list());
  return encoded;
}

// Throws the error for a text of which the voice can speak nothing.
void FrontEnd::reject(View text, const std::vector<Text>& dropped) const {
  if (tables_->strip(text).empty()) throw request_error("text: the text is empty");
  throw request_error("text: nothing of it can be spoken" +
                      (dropped.empty() ? "" : "; this voice has no symbol for: " + name_some(dropped)) +
                      "; give at least one character from the voice's symbol list");
}

std::int64_t FrontEnd::count_tokens(View text) const {
  const auto ids = encode(text).ids;
  return is_audible(ids) ? static_cast<std::int64_t>(ids.size()) : 0;
}

bool FrontEnd::is_audible(const std::vector<std::int32_t>& ids) const {
  return std::any_of(ids.begin(), ids.end(), [&](std::int32_t id) { return !is_space_[static_cast<std::size_t>(id)]; });
}

std::vector<SpokenWord> FrontEnd::words(std::string_view text) const {
  const Text collapsed = collapse_and_strip(from_utf8(text), *tables_);
  const auto encode_alone = [this](View part) { return encode_part(part).ids; };
  return find_words(collapsed, encode_unmarked(collapsed).ids, is_letter_, encode_alone);
}

Encoded FrontEnd::encode(View text) const {
  Encoded encoded = encode_unmarked(text);
  if (final_mark_ != SymbolTable::none) end(encoded.ids);
  return encoded;
}

Encoded FrontEnd::encode_unmarked(View text) const {
  const Text collapsed = collapse_and_strip(text, *tables_);
  return encode_part(with_equivalents_ ? tables_->normalization.compose(collapsed) : collapsed);
}

Encoded FrontEnd::encode_part(View text) const {
  return encode_text(lexicon_.apply(text), cleaners_, symbols_, with_equivalents_, *tables_);
}

// Adds the final mark to a text that ends with a letter, whatever spaces come after it.
void FrontEnd::end(std::vector<std::int32_t>& ids) const {
  const auto last =
      std::find_if(ids.rbegin(), ids.rend(), [&](std::int32_t id) { return !is_space_[static_cast<std::size_t>(id)]; });
  if (last == ids.rend() || !is_letter_[static_cast<std::size_t>(*last)]) return;
  ids.erase(last.base(), ids.end());
  ids.push_back(final_mark_);
}

std::vector<std::string> FrontEnd::remarks(const std::vector<std::int32_t>& ids) const {
  std::set<Text> phones;
  for (const std::int32_t id : ids) {
    const Text& symbol = symbols_.symbols()[static_cast<std::size_t>(id)];
    if (symbol.size() > 1 && untrained_.count(to_utf8(symbol)) != 0) phones.insert(symbol);
  }
  std::vector<Text> named;
  for (const Text& phone : phones) named.push_back(U"phone '" + phone.substr(phone[0] == U'@' ? 1 : 0) + U"'");
  if (named.empty()) return {};
  return {"this voice was never trained on the " + name_some(named) + "; write a respelling instead"};
}

}  // namespace tacoglow
