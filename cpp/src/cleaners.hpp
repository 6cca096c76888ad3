// Cleaners: named steps from written text to the characters that a voice was trained on, as in Python's
// text/cleaners.py.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "english/spoken.hpp"

namespace tacoglow {

// True if there is a cleaner of this name.
bool is_cleaner(const std::string& name);

// The cleaners of a voice, in the order in which they run.
class Cleaners {
 public:
  Cleaners(const std::vector<std::string>& names, const TextTables& tables);

  Text clean(View text) const;

  // Returns the characters that these cleaners drop because they have no transliteration.
  Text untransliterable(View text) const;

 private:
  const TextTables& tables_;
  English english_;
  std::vector<std::function<Text(View)>> steps_;
  bool transliterates_ = false, reads_notations_ = false;
};

// Joins the words of a text with single spaces.
Text collapse_and_strip(View text, const TextTables& tables);

}  // namespace tacoglow
