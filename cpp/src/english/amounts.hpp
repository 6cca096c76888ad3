// Amounts of money, measures, and every other number, by the rules of Python's text/english/amounts.py.
#pragma once

#include "english/numerals.hpp"

namespace tacoglow {

class Amounts {
 public:
  Amounts(const TextTables& tables, const Numerals& numerals)
      : tables_(tables), words_(tables.english), numerals_(numerals) {}

  // Writes every number of a text in words, with what belongs to it.
  Text expand(View text) const;

 private:
  Text phone(const Match& match) const;
  Text dialled(const Match& match) const;
  Text ip(const Match& match) const;
  Text version(View number) const;
  Text fraction(const Match& match) const;
  Text range(const Match& match) const;
  Text quantity(const Match& match) const;
  Text plain(const Match& match, View whole, View part) const;
  Text with_sign(const Match& match, View spoken) const;
  Text money(View whole, View part, const EnglishTables::Currency& names) const;
  bool is_scale(const Match& match, View scale) const;

  const TextTables& tables_;
  const EnglishTables& words_;
  const Numerals& numerals_;
  const Pattern& phone_ = tables_.pattern("amounts.phone");
  const Pattern& dialled_ = tables_.pattern("amounts.dialled");
  const Pattern& groups_ = tables_.pattern("amounts.groups");
  const Pattern& code_ = tables_.pattern("amounts.code");
  const Pattern& ip_ = tables_.pattern("amounts.ip");
  const Pattern& decades_ = tables_.pattern("amounts.decades");
  const Pattern& version_ = tables_.pattern("amounts.version");
  const Pattern& named_version_ = tables_.pattern("amounts.named_version");
  const Pattern& feet_ = tables_.pattern("amounts.feet");
  const Pattern& duration_ = tables_.pattern("amounts.duration");
  const Pattern& numbered_ = tables_.pattern("amounts.numbered");
  const Pattern& pages_ = tables_.pattern("amounts.pages");
  const Pattern& ordinal_ = tables_.pattern("amounts.ordinal");
  const Pattern& decade_ = tables_.pattern("amounts.decade");
  const Pattern& fraction_ = tables_.pattern("amounts.fraction");
  const Pattern& range_ = tables_.pattern("amounts.range");
  const Pattern& minus_ = tables_.pattern("amounts.minus");
  const Pattern& quantity_ = tables_.pattern("amounts.quantity");
};

}  // namespace tacoglow
