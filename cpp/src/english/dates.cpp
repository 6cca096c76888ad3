#include "english/dates.hpp"

#include <algorithm>

namespace tacoglow {

Text lower_ascii(View text) {
  Text lower(text);
  for (char32_t& c : lower)
    if (c >= U'A' && c <= U'Z') c += 32;
  return lower;
}

Text Dates::expand_dates(View given) const {
  Text text = iso_.replace(given, [&](const Match& match) { return iso(match); });
  text = iso_month_.replace(View(text), [&](const Match& match) { return iso_month(match); });
  text = slashed_.replace(View(text), [&](const Match& match) {
    // Month first, as in the United States, unless it can only be the day.
    const bool is_day_first = to_number(match[1]) > 12;
    const Text spoken = date(match[3], match[is_day_first ? 2 : 1], match[is_day_first ? 1 : 2]);
    return spoken.empty() ? Text(match[0]) : spoken;
  });
  text = dotted_.replace(View(text), [&](const Match& match) {
    const Text spoken = date(match[3], match[2], match[1]);
    return spoken.empty() ? Text(match[0]) : spoken;
  });
  text = weekdays_.replace(View(text), [&](const Match& match) {
    return look_up(words_.short_weekdays, lower_ascii(match[1])) + U" to " +
           look_up(words_.short_weekdays, lower_ascii(match[2]));
  });
  text = short_weekday_.replace(View(text), [&](const Match& match) {
    return look_up(words_.short_weekdays, lower_ascii(match[1])) += match[2].empty() ? match[3] : match[2];
  });
  text = day_month_.replace(View(text), [&](const Match& match) { return day_month(match); });
  text = month_day_.replace(View(text), [&](const Match& match) { return month_day(match); });
  text = month_year_.replace(View(text),
                             [&](const Match& match) { return month(match[1]) + U" " + numerals_.year(match[2]); });
  return short_month_.replace(View(text), [&](const Match& match) { return month(match[1]) += kept_stop(match, 2); });
}

Text Dates::expand_times(View given) const {
  Text text = time_range_.replace(given, [](const Match& match) { return Text(match[1]) + U" to "; });
  text = time_.replace(View(text), [&](const Match& match) { return time(match); });
  return hour_.replace(View(text), [&](const Match& match) { return hour(match); });
}

View Dates::kept_stop(const Match& match, std::size_t group) const {
  if (match[group].empty()) return {};
  const auto following = ends_sentence_.match(match.text(), match.end());
  return following && tables_.sentences.after_time.count(lower_ascii((*following)[1])) == 0 ? View(U".") : View();
}

Text Dates::month(View name) const { return look_up(words_.short_months, lower_ascii(name.substr(0, 3))); }

// Returns the date in words; "" if it is not one.
Text Dates::date(View year_digits, View month, View day) const {
  const std::int64_t month_number = to_number(month), day_number = to_number(day);
  if (month_number < 1 || month_number > 12 || day_number < 1 || day_number > 31) return {};
  return words_.months[static_cast<std::size_t>(month_number - 1)] + U" " + numerals_.ordinal(day) + U", " +
         year(year_digits);
}

Text Dates::year(View digits) const {
  if (digits.size() == 4) return numerals_.year(digits);
  return digits.substr(0, 1) == U"0" ? U"oh " + numerals_.cardinal(digits.substr(1, 1)) : numerals_.cardinal(digits);
}

Text Dates::and_seconds(View seconds) const {
  const std::int64_t number = to_number(seconds);
  return number == 0 ? Text() : U" and " + numerals_.cardinal(number) + U" seconds";
}

Text Dates::iso(const Match& match) const {
  const Text day = date(match[1], match[3], match[4]);
  if (day.empty() || (match.has(5) && (to_number(match[5]) > 23 || to_number(match[6]) > 59))) return Text(match[0]);
  if (!match.has(5)) return numerals_.apart(match, day);
  const View zone = match[8];
  Text spoken;
  if (zone == U"Z" || zone == U"UTC" || zone == U"GMT") {
    spoken = zone == U"GMT" ? U" g m t" : U" u t c";
  } else if (!zone.empty()) {
    const std::int64_t minutes = to_number(zone.substr(zone.size() - 2));
    spoken = U" u t c " + Text(zone[0] == U'+' ? U"plus" : U"minus") + U" " +
             numerals_.cardinal(to_number(zone.substr(1, 2)));
    if (minutes != 0) spoken += U" " + numerals_.cardinal(minutes);
  }
  return numerals_.apart(
      match, day + U", " + clock(to_number(match[5]), to_number(match[6]), false) + and_seconds(match[7]) + spoken);
}

// Reads "2024-05" as a month, but "2009-10" as years.
Text Dates::iso_month(const Match& match) const {
  if (match[2] < match[3] && match[3][0] == U'1') return Text(match[0]);
  return words_.months[static_cast<std::size_t>(to_number(match[3]) - 1)] + U" " + numerals_.year(match[1]);
}

Text Dates::month_day(const Match& match) const {
  const std::int64_t day = to_number(match[2]), last = match.has(3) ? to_number(match[3]) : 31;
  if (day < 1 || day > last || last > 31) return Text(match[0]);
  Text spoken = month(match[1]) + U" " + numerals_.ordinal(match[2]);
  if (match.has(3)) spoken += U" to " + numerals_.ordinal(match[3]);
  if (match.has(5)) (spoken += match[4]) += U" " + numerals_.year(match[5]);
  return spoken;
}

Text Dates::day_month(const Match& match) const {
  const std::int64_t day = to_number(match[1]);
  if (day < 1 || day > 31) return Text(match[0]);
  Text spoken = U"the " + numerals_.ordinal(match[1]) + U" of " + month(match[2]);
  return match.has(4) ? spoken + U" " + numerals_.year(match[4]) : spoken += kept_stop(match, 3);
}

Text Dates::time(const Match& match) const {
  const View half = match[4], zone = match[6];
  const std::int64_t hour = to_number(match[1]), minute = to_number(match[2]), second = to_number(match[3]);
  if (match.has(3) && !match.has(4) && !match.has(6)) {  // a duration
    const auto count = [&](std::int64_t number, const Text& name) {
      return numerals_.cardinal(number) + U" " + name + (number == 1 ? U"" : U"s");
    };
    return numerals_.apart(
        match, count(hour, U"hour") + U" " + count(minute, U"minute") + U" and " + count(second, U"second"));
  }
  return numerals_.apart(match,
                         clock(hour, minute, match.has(4)) + and_seconds(match[3]) + suffix(match, half, zone, 5));
}

Text Dates::hour(const Match& match) const {
  return clock(to_number(match[1]), to_number(match[2]), true) + suffix(match, match[3], match[5], 4);
}

// stop: the group of the full stop after "p.m.".
Text Dates::suffix(const Match& match, View half, View zone, std::size_t stop) const {
  Text spoken;
  if (!half.empty()) spoken = U" " + lower_ascii(half) + U" m";
  if (zone.empty()) return half.empty() ? spoken : spoken += kept_stop(match, stop);
  for (const char32_t letter : lower_ascii(zone)) (spoken += U" ") += letter;
  return spoken;
}

// Returns a time without its half of the day: 10 and 5 are "ten oh five", 14 and 0 "fourteen hundred".
Text Dates::clock(std::int64_t hour, std::int64_t minute, bool has_half) const {
  Text minutes;
  if (minute != 0)
    minutes = (minute < 10 ? U" oh " : U" ") + numerals_.cardinal(minute);
  else if (!has_half)
    minutes = hour >= 1 && hour <= 12 ? U" o'clock" : U" hundred";
  return numerals_.cardinal(hour) + minutes;
}

}  // namespace tacoglow
