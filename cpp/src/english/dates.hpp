// Dates and times of day, by the rules of Python's text/english/dates.py.
#pragma once

#include "english/numerals.hpp"

namespace tacoglow {

class Dates {
 public:
  Dates(const TextTables& tables, const Numerals& numerals)
      : tables_(tables), words_(tables.english), numerals_(numerals) {}

  // In the order of the United States: "november twenty-fifth, twenty twenty-six".
  Text expand_dates(View text) const;

  // "ten oh five p m", "ten o'clock", "fourteen hundred".
  Text expand_times(View text) const;

  // The full stop that an abbreviation took, if it ends the sentence too: at the text's end, or before a new one.
  View kept_stop(const Match& match, std::size_t group) const;

  // A year of four digits, or of two: "99", "05".
  Text year(View digits) const;

 private:
  Text month(View name) const;
  Text date(View year_digits, View month, View day) const;
  Text iso(const Match& match) const;
  Text iso_month(const Match& match) const;
  Text month_day(const Match& match) const;
  Text day_month(const Match& match) const;
  Text time(const Match& match) const;
  Text hour(const Match& match) const;
  Text suffix(const Match& match, View half, View zone, std::size_t stop) const;
  Text clock(std::int64_t hour, std::int64_t minute, bool has_half) const;
  Text and_seconds(View seconds) const;

  const TextTables& tables_;
  const EnglishTables& words_;
  const Numerals& numerals_;
  const Pattern& iso_ = tables_.pattern("dates.iso");
  const Pattern& iso_month_ = tables_.pattern("dates.iso_month");
  const Pattern& slashed_ = tables_.pattern("dates.slashed");
  const Pattern& dotted_ = tables_.pattern("dates.dotted");
  const Pattern& weekdays_ = tables_.pattern("dates.weekdays");
  const Pattern& short_weekday_ = tables_.pattern("dates.short_weekday");
  const Pattern& day_month_ = tables_.pattern("dates.day_month");
  const Pattern& month_day_ = tables_.pattern("dates.month_day");
  const Pattern& month_year_ = tables_.pattern("dates.month_year");
  const Pattern& short_month_ = tables_.pattern("dates.short_month");
  const Pattern& time_range_ = tables_.pattern("dates.time_range");
  const Pattern& time_ = tables_.pattern("dates.time");
  const Pattern& hour_ = tables_.pattern("dates.hour");
  const Pattern& ends_sentence_ = tables_.pattern("dates.ends_sentence");
};

// A text with only its ASCII letters in lower case.
Text lower_ascii(View text);

// The value of a key; "" if there is none.
template <typename Map>
auto look_up(const Map& map, const typename Map::key_type& key) {
  const auto found = map.find(key);
  return found == map.end() ? typename Map::mapped_type() : found->second;
}

}  // namespace tacoglow
