// English notations as people say them: the order of the rules, the characters that they see, and the symbols that none
// of them has read, as in Python's text/english/spoken.py.
#pragma once

#include "english/addresses.hpp"
#include "english/amounts.hpp"
#include "english/dates.hpp"

namespace tacoglow {

class English {
 public:
  explicit English(const TextTables& tables)
      : tables_(tables),
        words_(tables.english),
        numerals_(tables),
        addresses_(tables, numerals_),
        dates_(tables, numerals_),
        amounts_(tables, numerals_) {}
  English(const English&) = delete;
  English& operator=(const English&) = delete;

  // Writes a text's notations in words that consist of ASCII letters; the case of other words is kept.
  Text expand_notations(View text) const;

  // True if `expand_notations` says a character that has no transliteration, or drops it on purpose.
  bool has_word_for(char32_t character) const;

  const Numerals& numerals() const { return numerals_; }
  const Dates& dates() const { return dates_; }
  const Amounts& amounts() const { return amounts_; }

 private:
  Text transliterate(View text) const;
  void add_transliterated(char32_t character, Text& result) const;

  const TextTables& tables_;
  const EnglishTables& words_;
  Numerals numerals_;
  Addresses addresses_;
  Dates dates_;
  Amounts amounts_;
  const Pattern& power_ = tables_.pattern("spoken.power");
  const Pattern& vulgar_ = tables_.pattern("spoken.vulgar");
  const Pattern& abbreviation_ = tables_.pattern("spoken.abbreviation");
  const Pattern& street_ = tables_.pattern("spoken.street");
  const Pattern& word_ = tables_.pattern("spoken.words");
  const Pattern& pluses_ = tables_.pattern("spoken.pluses");
  const Pattern& symbol_ = tables_.pattern("spoken.symbol");
  const Pattern& space_before_mark_ = tables_.pattern("spoken.space_before_mark");
};

}  // namespace tacoglow
