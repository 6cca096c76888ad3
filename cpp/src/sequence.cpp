#include "sequence.hpp"

#include <algorithm>

#include "braces.hpp"

namespace tacoglow {
namespace {

class Encoder {
 public:
  Encoder(const Cleaners& cleaners, const SymbolTable& symbols, bool with_equivalents, const TextTables& tables)
      : cleaners_(cleaners), symbols_(symbols), with_equivalents_(with_equivalents), tables_(tables) {}

  // If the first line has a brace group, all following lines are ignored.
  Encoded encode(View text) {
    const std::size_t line_end = std::min(text.find(U'\n'), text.size());
    std::size_t spoken = 0;
    std::vector<Span> groups = brace_groups(text.substr(0, line_end));
    for (const auto [start, stop] : groups) {
      add_plain(text.substr(spoken, start - spoken));
      add_braces(text.substr(start + 1, stop - start - 2));
      spoken = stop;
    }
    if (groups.empty()) {
      add_plain(text);
      return std::move(encoded_);
    }
    const View others = text.substr(line_end);
    if (!tables_.strip(others).empty()) encoded_.dropped.add(U"\n" + tables_.strip_right(others.substr(1)));
    add_plain(text.substr(spoken, line_end - spoken));
    return std::move(encoded_);
  }

 private:
  void add_plain(View text) {
    for (const char32_t character : cleaners_.untransliterable(text)) encoded_.dropped.add(Text(1, character));
    const Text cleaned = cleaners_.clean(text), tokens = with_equivalents_ ? with_equivalents(cleaned) : cleaned;
    std::size_t last = Text::npos;  // the last token with an id
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::int32_t id = symbols_.id_of(Text(1, tokens[i]));
      if (id == SymbolTable::none) {
        encoded_.dropped.add(Text(1, tokens[i]));
        continue;
      }
      if (with_equivalents_ && last != Text::npos && last + 1 < i) add_space(View(tokens).substr(last, i - last + 1));
      encoded_.ids.push_back(id);
      last = i;
    }
  }

  // Adds a space, if the voice has one, in place of the dropped tokens between two letters or digits.
  void add_space(View tokens) {
    const View lost = tokens.substr(1, tokens.size() - 2);
    const bool is_silent =
        std::all_of(lost.begin(), lost.end(), [&](char32_t c) { return tables_.silent.contains(c); });
    const std::int32_t space = symbols_.id_of(U" ");
    if (!is_silent && space != SymbolTable::none && tables_.alphanumeric.contains(tokens.front()) &&
        tables_.alphanumeric.contains(tokens.back()))
      encoded_.ids.push_back(space);
  }

  void add_braces(View text) {
    for (std::size_t i = 0; i < text.size();) {
      std::size_t stop = i;
      while (stop < text.size() && !tables_.whitespace.contains(text[stop])) ++stop;
      if (stop > i) {
        const Text token(text.substr(i, stop - i));
        const std::int32_t id = symbols_.id_of(symbols_.braced(token));
        if (id != SymbolTable::none)
          encoded_.ids.push_back(id);
        else
          encoded_.dropped.add(U"{" + token + U"}");
      }
      i = stop + 1;
    }
  }

  Text with_equivalents(View text) {
    Text result;
    for (const char32_t character : text) {
      if (symbols_.has(character))
        result += character;
      else
        result += equivalent_of(character);
    }
    return result;
  }

  const Text& equivalent_of(char32_t character) {
    const auto [found, is_new] = equivalents_.try_emplace(character);
    if (is_new) {
      found->second = find_equivalent(character);
      if (found->second.empty()) found->second = Text(1, character);
    }
    return found->second;
  }

  Text find_equivalent(char32_t character) const {
    const auto is_known = [&](const Text& text) {
      return !text.empty() && std::all_of(text.begin(), text.end(), [&](char32_t c) { return symbols_.has(c); });
    };
    if (const auto own = tables_.equivalents.find(character); own != tables_.equivalents.end())
      for (const Text& text : own->second)
        if (is_known(text)) return text;
    const View given(&character, 1);
    for (const Text& text :
         {tables_.normalization.compose_compatible(given), tables_.normalization.decompose_compatible(given)}) {
      if (text == given) continue;
      if (is_known(text)) return text;
      Text base = text;
      base.erase(std::remove_if(base.begin(), base.end(), [&](char32_t c) { return tables_.silent.contains(c); }),
                 base.end());
      if (is_known(base)) return base;
    }
    return {};
  }

  const Cleaners& cleaners_;
  const SymbolTable& symbols_;
  bool with_equivalents_;
  const TextTables& tables_;
  std::unordered_map<char32_t, Text> equivalents_;  // found so far
  Encoded encoded_;
};

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

SymbolTable::SymbolTable(const std::vector<std::string>& symbols) {
  for (const auto& given : symbols) {
    const Text symbol = from_utf8(given);
    if (symbol != U"_" && symbol != U"~") ids_[symbol] = static_cast<std::int32_t>(symbols_.size());
    spells_phones_ = spells_phones_ || (symbol.size() > 1 && symbol[0] == U'@');
    symbols_.push_back(symbol);
  }
}

std::int32_t SymbolTable::id_of(const Text& symbol) const {
  const auto found = ids_.find(symbol);
  return found == ids_.end() ? none : found->second;
}

Text SymbolTable::name_of(std::int32_t id) const {
  const Text& symbol = symbols_.at(static_cast<std::size_t>(id));
  return spells_phones_ && symbol.size() > 1 && symbol[0] == U'@' ? symbol.substr(1) : symbol;
}

Encoded encode_text(View text, const Cleaners& cleaners, const SymbolTable& symbols, bool with_equivalents,
                    const TextTables& tables) {
  return Encoder(cleaners, symbols, with_equivalents, tables).encode(text);
}

}  // namespace tacoglow
