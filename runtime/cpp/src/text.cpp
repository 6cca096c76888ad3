#include "text.hpp"

#include <algorithm>

#include "error.hpp"

namespace tacoglow {
namespace {

constexpr const char* advice = "; prepare token ids with the Python front end (docs/cpp.md shows how)";

// ASCII whitespace as in Python's str.split().
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); }

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string collapse_whitespace(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (!is_space(c))
      result += c;
    else if (!result.empty() && result.back() != ' ')
      result += ' ';
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

}  // namespace

TextTable::TextTable(const Manifest& manifest) {
  for (const auto& cleaner : manifest.cleaners) {
    if (cleaner == "basic_cleaners" || cleaner == "lowercase")
      lowers_ = true;
    else if (cleaner != "collapse_whitespace")
      unsupported_reason_ = "text: the C++ runtime does not support this voice's " + cleaner + advice;
  }
  for (std::size_t i = 0; i < manifest.symbols.size(); ++i) {
    const std::string& symbol = manifest.symbols[i];
    const auto id = static_cast<std::int32_t>(i);
    if (symbol != "_" && symbol != "~") ids_[symbol] = id;
    if (symbol == " ") space_ = id;
    spells_phones_ = spells_phones_ || (symbol.size() > 1 && symbol[0] == '@');
  }
}

std::vector<std::int32_t> TextTable::encode(std::string_view raw) const {
  if (!takes_text()) throw request_error(unsupported_reason_);
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  const auto non_ascii = std::find_if_not(raw.begin(), raw.end(), is_ascii);
  if (non_ascii != raw.end())
    throw request_error("text: byte " + std::to_string(non_ascii - raw.begin()) + " is not ASCII" + advice);
  const std::string text = collapse_whitespace(raw);
  std::vector<std::int32_t> ids;
  std::size_t done = 0, open = text.find('{');
  while (open != std::string::npos) {
    const std::size_t close = text.find('}', open + 2);  // "{}" is not a group
    if (close == std::string::npos) break;
    add_plain(std::string_view(text).substr(done, open - done), ids);
    add_braces(std::string_view(text).substr(open + 1, close - open - 1), ids);
    done = close + 1;
    open = text.find('{', done);
  }
  add_plain(std::string_view(text).substr(done), ids);
  if (std::all_of(ids.begin(), ids.end(), [&](std::int32_t id) { return id == space_; }))
    throw request_error("text: no speakable symbols; give at least one character from the voice's symbol list");
  return ids;
}

void TextTable::add_plain(std::string_view text, std::vector<std::int32_t>& ids) const {
  for (const char c : text) add_symbol(std::string(1, lowers_ ? to_lower(c) : c), ids);
}

void TextTable::add_braces(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::string token;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] != ' ') {
      token += text[i];
    } else if (!token.empty()) {
      add_symbol(spells_phones_ ? "@" + token : token, ids);
      token.clear();
    }
  }
}

void TextTable::add_symbol(const std::string& symbol, std::vector<std::int32_t>& ids) const {
  const auto found = ids_.find(symbol);
  if (found != ids_.end()) ids.push_back(found->second);
}

}  // namespace tacoglow
