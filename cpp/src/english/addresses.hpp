// Emails, web addresses and file names, sign by sign, by the rules of Python's text/english/addresses.py.
#pragma once

#include "english/numerals.hpp"

namespace tacoglow {

class Addresses {
 public:
  Addresses(const TextTables& tables, const Numerals& numerals) : tables_(tables), numerals_(numerals) {}

  Text expand(View text) const;

 private:
  Text spell(View address) const;
  Text spell_token(View token) const;

  const TextTables& tables_;
  const Numerals& numerals_;
  const Pattern& email_ = tables_.pattern("addresses.email");
  const Pattern& web_ = tables_.pattern("addresses.web");
  const Pattern& name_ = tables_.pattern("addresses.name");
  const Pattern& token_ = tables_.pattern("addresses.token");
};

}  // namespace tacoglow
