#include "english/say_as.hpp"

#include <algorithm>
#include <set>

namespace tacoglow {
namespace {

constexpr std::size_t length_without_signs = 8;  // of a date, as 20240115

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

bool is_number(View field) { return !field.empty() && is_digit(field[0]); }

bool is_day(View field) { return is_number(field) && field.size() == 2 && field > U"12"; }

Text replace_all(View text, View from, View to) {
  Text result;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != View::npos; at = text.find(from, done)) {
    (result += text.substr(done, at - done)) += to;
    done = at + from.size();
  }
  return result += text.substr(done);
}

}  // namespace

SayAs::Rule SayAs::find(const std::string& kind) {
  static const std::map<std::string, Rule> rules = {{"characters", &SayAs::characters},
                                                    {"spell-out", &SayAs::characters},
                                                    {"verbatim", &SayAs::characters},
                                                    {"digits", &SayAs::digits},
                                                    {"telephone", &SayAs::digits},
                                                    {"cardinal", &SayAs::number},
                                                    {"number", &SayAs::number},
                                                    {"ordinal", &SayAs::ordinal},
                                                    {"fraction", &SayAs::mixed_fraction},
                                                    {"unit", &SayAs::notation},
                                                    {"currency", &SayAs::notation},
                                                    {"date", &SayAs::date},
                                                    {"time", &SayAs::time}};
  const auto found = rules.find(kind);
  return found == rules.end() ? nullptr : found->second;
}

// Each letter and digit by itself: "WiFi-2" is "W I F I dash two".
std::optional<Text> SayAs::characters(View text, View) const {
  Text spoken;
  for (const char32_t character : text) {
    if (tables_.whitespace.contains(character)) continue;
    const View own(&character, 1);
    Text name = is_digit(character) ? english_.numerals().digit_by_digit(own)
                                    : look_up(tables_.english.address_signs, Text(own));
    if (name.empty()) name = Text(1, character >= U'a' && character <= U'z' ? character - 32 : character);
    (spoken += spoken.empty() ? U"" : U" ") += name;
  }
  if (spoken.empty()) return std::nullopt;
  return spoken;
}

// Each digit by itself, with a comma between groups: "555-12" is "five five five, one two"; and words.
std::optional<Text> SayAs::digits(View text, View) const {
  std::vector<Text> groups;
  bool has_digits = false;
  field_.for_each(text, 0, [&](const Match& match) {
    has_digits = has_digits || is_number(match[0]);
    groups.push_back(is_number(match[0]) ? english_.numerals().digit_by_digit(match[0]) : Text(match[0]));
    return true;
  });
  if (!has_digits) return std::nullopt;
  return (text.substr(0, 1) == U"+" ? U"plus " : U"") + join(groups, U", ");
}

std::optional<Text> SayAs::number(View text, View) const {
  const Text grouped = grouping_space_.replace(text, [](const Match&) { return View(U","); });
  const auto match = number_.full_match(grouped);
  const auto parsed = match ? english_.numerals().parse((*match)[2]) : std::nullopt;
  if (!parsed) return std::nullopt;
  const View sign = (*match)[1];
  const Text before = sign.empty() ? U"" : sign == U"+" ? U"plus " : U"minus ";
  return before + english_.numerals().decimal(significant(parsed->first), parsed->second, true);
}

std::optional<Text> SayAs::ordinal(View text, View) const {
  const Text plain = without(text, U',');
  const auto match = ordinal_.full_match(plain);
  if (!match) return std::nullopt;
  return english_.numerals().ordinal((*match)[1]);
}

// A fraction, also with a whole number before it: "1+1/2".
std::optional<Text> SayAs::mixed_fraction(View text, View form) const {
  Text fields(text);
  std::replace(fields.begin(), fields.end(), U'+', U' ');
  return notation(fields, form);
}

// Fractions, units, currencies: what the cleaners read by themselves.
std::optional<Text> SayAs::notation(View text, View) const {
  const Text spoken = tables_.strip(english_.amounts().expand(text));
  if (spoken.empty()) return std::nullopt;
  return spoken;
}

// Returns the order of a date's fields; without a format month, day, year, or year first.
std::string SayAs::order_of(const std::vector<Text>& fields, View form) const {
  static const std::set<Text> known = {U"mdy", U"dmy", U"ymd", U"ydm", U"md", U"dm", U"my", U"ym", U"m", U"d", U"y"};
  Text order;
  for (const char32_t c : tables_.lower(form))
    if (tables_.alphabetic.contains(c)) order += c;
  order = replace_all(order, U"yyyy", U"y");
  order = replace_all(order, U"mm", U"m");
  order = replace_all(order, U"dd", U"d");
  if (known.count(order) != 0) return to_utf8(order);
  const auto named = std::find_if(fields.begin(), fields.end(), [&](const Text& field) {
    return tables_.english.short_months.count(lower_ascii(View(field).substr(0, 3))) != 0;
  });
  std::string own = "mdy";
  if (!fields.empty() && fields[0].size() == 4)
    own = "ymd";
  else if (named != fields.end() ? fields[0] != *named : !fields.empty() && is_day(fields[0]))
    own = "dmy";
  if (fields.size() < own.size()) own.erase(own.find('y'), 1);
  return own;
}

std::optional<Text> SayAs::date(View text, View form) const {
  std::vector<Text> fields;
  static const std::set<Text> beside_days = {U"st", U"nd", U"rd", U"th", U"of", U"the"};
  field_.for_each(text, 0, [&](const Match& match) {
    if (beside_days.count(lower_ascii(match[0])) == 0) fields.emplace_back(match[0]);
    return true;
  });
  if (fields.size() == 1 && fields[0].size() == length_without_signs && is_number(fields[0]))
    fields = {fields[0].substr(0, 4), fields[0].substr(4, 2), fields[0].substr(6)};
  const std::string order = order_of(fields, form);
  if (fields.size() != order.size()) return std::nullopt;
  Text month_name, day, year;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const View field = fields[i];
    if (order[i] == 'm') {
      month_name = month(field);
      if (month_name.empty()) return std::nullopt;
    } else if (order[i] == 'd') {
      const std::int64_t number = is_number(field) ? to_number(field.substr(0, 3)) : 0;
      if (number < 1 || number > 31) return std::nullopt;
      day = english_.numerals().ordinal(field);
    } else {
      if (!is_number(field) || (field.size() != 2 && field.size() != 4)) return std::nullopt;
      year = english_.dates().year(field);
    }
  }
  Text spoken = month_name + (month_name.empty() || day.empty() ? U"" : U" ") + day;
  return (spoken += spoken.empty() || year.empty() ? U"" : U", ") += year;
}

// A time of day, "2:30pm", or minutes and seconds, 1'21".
std::optional<Text> SayAs::time(View text, View) const {
  const Numerals& numerals = english_.numerals();
  if (const auto match = duration_.full_match(text)) {
    const Text minutes = numerals.cardinal((*match)[1]) + U" minute" + ((*match)[1] == U"1" ? U"" : U"s");
    return match->has(2) ? minutes + U" " + numerals.cardinal(to_number((*match)[2])) + U" seconds" : minutes;
  }
  Text spoken = english_.dates().expand_times(text);
  if (spoken == text) return std::nullopt;
  return spoken;
}

Text SayAs::month(View field) const {
  if (!is_number(field)) return look_up(tables_.english.short_months, lower_ascii(field.substr(0, 3)));
  const std::int64_t number = field.size() <= 2 ? to_number(field) : 0;
  return number < 1 || number > 12 ? Text() : tables_.english.months[static_cast<std::size_t>(number - 1)];
}

}  // namespace tacoglow
