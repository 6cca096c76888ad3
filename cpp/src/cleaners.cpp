#include "cleaners.hpp"

#include <algorithm>
#include <map>

#include "numbers.hpp"

namespace tacoglow {
namespace {

constexpr const char* extended = "english_cleaners_extended";
constexpr char32_t long_s = U'\u017F';  // equals "s" if case is ignored

Text lowercase(View text, const TextTables& tables) { return tables.lower(text); }

Text collapse_whitespace(View text, const TextTables& tables) {
  Text result;
  bool in_space = false;
  for (const char32_t character : text) {
    const bool is_space = tables.whitespace.contains(character);
    if (!is_space)
      result += character;
    else if (!in_space)
      result += U' ';
    in_space = is_space;
  }
  return result;
}

Text convert_to_ascii(View text, const TextTables& tables) {
  Text result;
  for (const char32_t character : text) {
    if (character < 0x80) {
      result += character;
    } else {
      const std::string& ascii = tables.transliterate(character);
      result.append(ascii.begin(), ascii.end());
    }
  }
  return result;
}

Text expand_numbers(View text, const TextTables& tables) { return normalize_numbers(text, tables.numbers); }

bool is_word(char32_t character, const TextTables& tables) {
  return character == U'_' || tables.alphanumeric.contains(character);
}

bool equals_ignoring_case(char32_t character, char32_t lower) {
  const char32_t own = character >= U'A' && character <= U'Z' ? character + 32 : character;
  return own == lower || (lower == U's' && character == long_s);
}

// True if this abbreviation and a full stop are at an offset that begins a word.
bool is_abbreviation(View text, std::size_t start, View abbreviation, const TextTables& tables) {
  if (text.size() - start <= abbreviation.size() || text[start + abbreviation.size()] != U'.') return false;
  if (start > 0 && is_word(text[start - 1], tables)) return false;
  return std::equal(abbreviation.begin(), abbreviation.end(), text.begin() + static_cast<std::ptrdiff_t>(start),
                    [](char32_t lower, char32_t character) { return equals_ignoring_case(character, lower); });
}

// One pass for each abbreviation: "St.Co." becomes "saintCo." in the pass for "st", where "Co." no longer starts a
// word.
Text expand_abbreviations(View given, const TextTables& tables) {
  Text text(given);
  if (text.find(U'.') == Text::npos) return text;
  for (const auto& [abbreviation, spoken] : tables.abbreviations) {
    Text result;
    for (std::size_t i = 0; i < text.size();) {
      if (is_abbreviation(text, i, abbreviation, tables)) {
        result += spoken;
        i += abbreviation.size() + 1;
      } else {
        result += text[i++];
      }
    }
    text = std::move(result);
  }
  return text;
}

Text basic_cleaners(View text, const TextTables& tables) { return collapse_whitespace(tables.lower(text), tables); }

Text transliteration_cleaners(View text, const TextTables& tables) {
  return collapse_whitespace(tables.lower(convert_to_ascii(text, tables)), tables);
}

Text english_cleaners(View text, const TextTables& tables) {
  const Text lower = tables.lower(convert_to_ascii(text, tables));
  return collapse_whitespace(expand_abbreviations(expand_numbers(lower, tables), tables), tables);
}

using Step = Text (*)(View text, const TextTables& tables);

const std::map<std::string, Step>& steps() {
  static const std::map<std::string, Step> steps = {
      {"english_cleaners", english_cleaners},       {"transliteration_cleaners", transliteration_cleaners},
      {"basic_cleaners", basic_cleaners},           {"lowercase", lowercase},
      {"collapse_whitespace", collapse_whitespace}, {"convert_to_ascii", convert_to_ascii},
      {"expand_numbers", expand_numbers},           {"expand_abbreviations", expand_abbreviations}};
  return steps;
}

}  // namespace

bool is_cleaner(const std::string& name) { return name == extended || steps().count(name) != 0; }

Cleaners::Cleaners(const std::vector<std::string>& names, const TextTables& tables)
    : tables_(tables), english_(tables) {
  for (const auto& name : names) {
    if (name == extended) {
      steps_.emplace_back([this](View text) { return english_cleaners(english_.expand_notations(text), tables_); });
      transliterates_ = reads_notations_ = true;
    } else {
      steps_.emplace_back([this, step = steps().at(name)](View text) { return step(text, tables_); });
      transliterates_ = transliterates_ || name == "english_cleaners" || name == "transliteration_cleaners" ||
                        name == "convert_to_ascii";
    }
  }
}

Text Cleaners::clean(View text) const {
  Text cleaned(text);
  for (const auto& step : steps_) cleaned = step(cleaned);
  return cleaned;
}

Text Cleaners::untransliterable(View text) const {
  Text lost;
  if (!transliterates_) return lost;
  for (const char32_t character : text)
    if (character >= 0x80 && !tables_.silent.contains(character) && tables_.transliterate(character).empty() &&
        !(reads_notations_ && english_.has_word_for(character)))
      lost += character;
  return lost;
}

Text collapse_and_strip(View text, const TextTables& tables) {
  Text result = collapse_whitespace(text, tables);
  if (!result.empty() && result.front() == U' ') result.erase(0, 1);
  if (!result.empty() && result.back() == U' ') result.pop_back();
  return result;
}

}  // namespace tacoglow
