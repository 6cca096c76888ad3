#include "english/amounts.hpp"

#include <algorithm>
#include <string>

#include "decimal.hpp"
#include "english/dates.hpp"

namespace tacoglow {
namespace {

constexpr std::size_t longest_in_range = 9;  // digits
constexpr std::size_t length_of_year = 4;
constexpr std::size_t length_before_k = 3;  // digits of a number whose K can only be a thousand

double to_double(View whole, View part) {
  return parse_decimal(to_utf8(whole.empty() ? View(U"0") : whole) + "." + to_utf8(part.empty() ? View(U"0") : part));
}

// Names the units of "1h 30m"; "30m" alone is a length.
Text duration(const Match& match) {
  if (!match.has(1) && !match.has(3)) return Text(match[0]);
  constexpr View units[] = {U" hr", U" min", U" sec"};
  std::vector<Text> parts;
  for (std::size_t group = 1; group <= 3; ++group)
    if (match.has(group)) parts.push_back(Text(match[group]).append(units[group - 1]));
  return join(parts, U" ");
}

bool is_spelled(View scale) {
  return scale == U"thousand" || scale == U"million" || scale == U"billion" || scale == U"trillion";
}

bool has_leading_zero(View digits) { return digits.size() > 1 && digits[0] == U'0'; }

}  // namespace

Text Amounts::expand(View given) const {
  Text text = phone_.replace(given, [&](const Match& match) { return phone(match); });
  text = dialled_.replace(View(text), [&](const Match& match) { return dialled(match); });
  text = groups_.replace(View(text), [](const Match& match) {
    Text grouped(match[0]);
    for (char32_t& c : grouped)
      if (c == U' ' || c == U'\'') c = match.has(1) ? U'.' : U',';
    return grouped;
  });
  text = code_.replace(View(text), [&](const Match& match) {
    return numerals_.digit_by_digit(match[1]) + U", " + numerals_.digit_by_digit(match[2]) + U", " +
           numerals_.digit_by_digit(match[3]);
  });
  text = ip_.replace(View(text), [&](const Match& match) { return ip(match); });
  text = named_version_.replace(View(text), [&](const Match& match) {
    return Text(match.has(1) ? match[1] : View(U"version ")) + numerals_.cardinal(match[2]) + U" point " +
           numerals_.cardinal(match[3]);
  });
  text = version_.replace(View(text), [&](const Match& match) { return version(match[0]); });
  text = feet_.replace(View(text),
                       [](const Match& match) { return Text(match[1]) + U" ft " + Text(match[2]) + U" inches"; });
  text = duration_.replace(View(text), [](const Match& match) { return duration(match); });
  text = numbered_.replace(View(text), [](const Match&) { return View(U" number "); });
  text = pages_.replace(View(text), [](const Match& match) { return match[1] == U"p" ? U"page " : U"pages "; });
  text = decades_.replace(View(text), [](const Match&) { return View(U" to "); });
  text = decade_.replace(View(text), [&](const Match& match) { return numerals_.decade(match[1]); });
  text = fraction_.replace(View(text), [&](const Match& match) { return fraction(match); });
  text = ordinal_.replace(View(text), [&](const Match& match) {
    return numerals_.apart(match, numerals_.ordinal(without(match[1], U',')));
  });
  text = minus_.replace(View(text), [](const Match&) { return View(U" minus "); });
  text = range_.replace(View(text), [&](const Match& match) { return range(match); });
  for (const auto& [sign, spoken] : words_.signs)
    text = sign.replace(View(text), [&, &words = spoken](const Match&) { return View(words); });
  return quantity_.replace(View(text), [&](const Match& match) { return quantity(match); });
}

Text Amounts::phone(const Match& match) const {
  std::vector<Text> spoken;
  for (std::size_t group = 2; group <= 8; ++group)
    if (!match[group].empty() && match[group] != U".") spoken.push_back(numerals_.digit_by_digit(match[group]));
  return (match[1].empty() ? U"" : U"plus ") + join(spoken, U", ");
}

Text Amounts::dialled(const Match& match) const {
  const View number = match[0];
  std::vector<Text> spoken;
  for (std::size_t start = match.has(1) ? 1 : 0; start < number.size();) {
    const std::size_t end = std::min(number.find_first_of(U" -", start), number.size());
    spoken.push_back(numerals_.digit_by_digit(number.substr(start, end - start)));
    start = end + 1;
  }
  return (match.has(1) ? U"plus " : U"") + join(spoken, U", ");
}

Text Amounts::ip(const Match& match) const {
  std::vector<Text> spoken;
  bool is_address = false;
  for (std::size_t group = 1; group <= 4; ++group) {
    if (to_number(match[group]) > 255) return Text(match[0]);
    is_address = is_address || match[group].size() > 1;
    spoken.push_back(numerals_.digit_by_digit(match[group]));
  }
  return is_address ? join(spoken, U" dot ") : Text(match[0]);
}

Text Amounts::version(View number) const {
  const bool is_named = number[0] == U'v' || number[0] == U'V';
  number.remove_prefix(std::min(number.find_first_not_of(U"vV"), number.size()));
  std::vector<Text> spoken;
  for (std::size_t start = 0; start <= number.size();) {
    const std::size_t end = std::min(number.find(U'.', start), number.size());
    spoken.push_back(numerals_.cardinal(number.substr(start, end - start)));
    start = end + 1;
  }
  return (is_named ? U"version " : U"") + join(spoken, U" point ");
}

Text Amounts::fraction(const Match& match) const {
  const View whole = match[2], top = match[3], bottom = match[4], unit = match["unit"];
  const Text minus = match["sign"].empty() ? U"" : U"minus ";
  const std::int64_t top_number = to_number(top), bottom_number = to_number(bottom);
  const auto other = words_.not_fractions.find({top_number, bottom_number});
  if (other != words_.not_fractions.end()) return numerals_.apart(match, other->second);
  const auto in_unit = [&](bool is_many) {
    if (unit.empty()) return Text();
    const auto& names = look_up(words_.units, Text(unit));
    return U" " + (is_many ? names.many : names.one);
  };
  if (words_.denominators_read.count(bottom_number) == 0 || top[0] == U'0' || bottom[0] == U'0' ||
      top.size() == length_of_year)
    return minus + (match.has(2) ? numerals_.cardinal(whole) + U" " : Text()) + numerals_.year(top) + U" slash " +
           numerals_.year(bottom) + in_unit(true);
  Text spoken = numerals_.fraction(top, bottom);
  if (match.has(2)) spoken = numerals_.cardinal(whole) + U" and " + (top == U"1" ? U"a" + spoken.substr(3) : spoken);
  return minus + spoken + in_unit(match.has(2));
}

// Reads "5-10" as "5 to 10" if it can be a range; a score or a code keeps its hyphen.
Text Amounts::range(const Match& match) const {
  const View sign = match["sign"];
  const auto low = numerals_.parse(match["low"]), high = numerals_.parse(match["high"]);
  if (!low || !high || std::max(low->first.size(), high->first.size()) > longest_in_range) return Text(match[0]);
  const bool has_zeros = has_leading_zero(low->first) || has_leading_zero(high->first);
  const bool is_abbreviated = low->first.size() == 4 && high->first.size() == 2 && low->first.substr(2) < high->first;
  const bool rises = to_double(low->first, low->second) < to_double(high->first, high->second);
  const bool has_dash = match["dash"].find(U'\u2013') != View::npos;
  if ((has_zeros || !(rises || is_abbreviated)) && sign.empty() && !has_dash) return Text(match[0]);
  const bool is_sign_twice = !match["second"].empty();
  Text spoken(!sign.empty() && !is_sign_twice ? View() : sign);
  ((spoken += match["low"]) += match["half"]) += U" to ";
  return is_sign_twice ? spoken : spoken += sign;
}

Text Amounts::quantity(const Match& match) const {
  const View number = match["number"], scale = match["scale"], unit = match["unit"], before = match["before"];
  const auto parsed = numerals_.parse(number);
  const View rest =
      match.text().substr(match.end(match.number_of("number")), match.end() - match.end(match.number_of("number")));
  if (!parsed) {  // a list, such as 1,2,3
    std::vector<Text> spoken;
    Text list(number);
    std::replace(list.begin(), list.end(), U'.', U',');
    for (std::size_t start = 0; start <= list.size();) {
      const std::size_t end = std::min(list.find(U',', start), list.size());
      spoken.push_back(numerals_.cardinal(View(list).substr(start, end - start)));
      start = end + 1;
    }
    return with_sign(match, join(spoken, U", ") += rest);
  }
  const auto& [whole, part] = *parsed;
  const auto currency = words_.currencies.find(Text(before.empty() ? unit : before));
  const bool is_money = currency != words_.currencies.end();
  if (!scale.empty() && !is_money && !is_spelled(lower_ascii(scale)) && !is_scale(match, scale))
    return with_sign(match, plain(match, whole, part) + U" " + tables_.strip(rest));
  Text spoken;
  if (!scale.empty()) {
    const Text named = look_up(words_.scales, Text(scale));
    spoken = numerals_.decimal(whole, part) + U" " + (named.empty() ? lower_ascii(scale) : named);
    if (is_money) spoken += U" " + currency->second.many;
  } else if (is_money) {
    spoken = money(whole, part, currency->second);
  } else if (!unit.empty()) {
    spoken = numerals_.decimal(whole, part);
  } else {
    spoken = plain(match, whole, part);
  }
  const bool is_one = whole == U"1" && part.empty() && scale.empty();
  if (unit == U"\u00A2") {
    spoken += U" " + words_.cents_sign[is_one ? 0 : 1];
  } else if (!unit.empty() && words_.currencies.count(Text(unit)) == 0) {
    const auto names = look_up(words_.units, Text(unit));
    spoken += U" " + (!is_one && match["gap"] != U"-" ? names.many : names.one);
  } else if (!unit.empty() && !before.empty()) {  // "$5 USD"
    spoken += U" " + Text(unit);
  }
  if (match.has("per")) spoken += U" per " + look_up(words_.per, Text(match["per"]));
  return with_sign(match, spoken);
}

// True if a letter after a number without a currency is its scale: "10k", "1.5M users", but not "4K" or "3M".
bool Amounts::is_scale(const Match& match, View scale) const {
  const View text = match.text(), number = match["number"];
  const bool after_letter = match.start() > 0 && tables_.alphabetic.contains(text[match.start() - 1]);
  const std::size_t end = match.end(match.number_of("scale"));
  const bool attached = match.start(match.number_of("scale")) == match.end(match.number_of("number")) && !after_letter;
  if (scale == U"k" || scale == U"bn" || scale == U"mn") return attached;
  if (scale == U"K")  // "400K", "2.5K", but not "10K run", "24K gold" or "i7-9700K"
    return attached && (number.find(U'.') != View::npos || number.size() == length_before_k);
  if (!attached || View(U"MB").find(scale) == View::npos) return false;
  const Text following = tables_.strip(text.substr(end, 2));
  return number.find(U'.') != View::npos || tables_.is_lower(following);
}

Text Amounts::plain(const Match& match, View whole, View part) const {
  const View number = match["number"];
  const bool is_year =
      whole.size() == 4 && part.empty() && number == whole && match["sign"].empty() && whole[0] != U'0';
  return is_year ? numerals_.year(whole) : numerals_.decimal(whole, part, number.find(U',') != View::npos);
}

Text Amounts::with_sign(const Match& match, View spoken) const {
  const View sign = match["sign"].empty() ? match["minus"] : match["sign"];
  Text words = sign == U"-" || sign == U"\u2212" ? U"minus "
               : sign == U"+"                    ? U"plus "
               : sign == U"\u00B1"               ? U"plus or minus "
                                                 : U"";
  return numerals_.apart(match, words += spoken);
}

// Reads "3" and "20" as "three pounds twenty", dollars as "three dollars, twenty cents".
Text Amounts::money(View whole, View part, const EnglishTables::Currency& names) const {
  part = part.substr(0, part.find_last_not_of(U'0') + 1);
  if (part.size() > 2 || (!part.empty() && names.cent.empty()))
    return numerals_.decimal(whole.empty() ? View(U"0") : whole, part) + U" " + names.many;
  whole = significant(whole);
  const std::int64_t minor = to_number(part) * (part.size() == 1 ? 10 : 1);
  const Text major = numerals_.cardinal(whole) + U" " + (whole == U"1" ? names.one : names.many);
  if (minor == 0) return major;
  const Text hundredths = numerals_.cardinal(minor) + U" " + (minor == 1 ? names.cent : names.cents);
  if (whole == U"0") return hundredths;
  if (names.one.find(U"dollar") != Text::npos) return major + U", " + hundredths;
  return major + U" " + (minor >= 10 ? numerals_.cardinal(minor) : hundredths);
}

}  // namespace tacoglow
