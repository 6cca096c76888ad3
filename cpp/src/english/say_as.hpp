// The readings of SSML's <say-as>, by the rules of Python's text/english/say_as.py.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "english/spoken.hpp"

namespace tacoglow {

class SayAs {
 public:
  // Returns words; nothing if the text is not of that kind. form: the attribute `format`.
  using Rule = std::optional<Text> (SayAs::*)(View text, View form) const;

  explicit SayAs(const TextTables& tables) : tables_(tables), english_(tables) {}

  // Returns the rule of a kind such as "date"; nullptr if it is not known.
  static Rule find(const std::string& kind);

 private:
  std::optional<Text> characters(View text, View form) const;
  std::optional<Text> digits(View text, View form) const;
  std::optional<Text> number(View text, View form) const;
  std::optional<Text> ordinal(View text, View form) const;
  std::optional<Text> mixed_fraction(View text, View form) const;
  std::optional<Text> notation(View text, View form) const;
  std::optional<Text> date(View text, View form) const;
  std::optional<Text> time(View text, View form) const;
  Text month(View field) const;
  std::string order_of(const std::vector<Text>& fields, View form) const;

  const TextTables& tables_;
  English english_;
  const Pattern& number_ = tables_.pattern("say_as.number");
  const Pattern& ordinal_ = tables_.pattern("say_as.ordinal");
  const Pattern& field_ = tables_.pattern("say_as.field");
  const Pattern& grouping_space_ = tables_.pattern("say_as.grouping_space");
  const Pattern& duration_ = tables_.pattern("say_as.duration");
};

}  // namespace tacoglow
