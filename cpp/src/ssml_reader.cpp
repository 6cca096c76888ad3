#include "ssml_reader.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "decimal.hpp"
#include "error.hpp"

namespace tacoglow {
namespace {

constexpr std::size_t longest_name = 40;   // characters of an element's or attribute's name in a message
constexpr std::size_t longest_quote = 40;  // characters of a quoted value
constexpr double decibels_max = 100.0;

bool is_block(const std::string& name) {
  return name == "p" || name == "paragraph" || name == "s" || name == "sentence";
}

std::string short_name(const std::string& name) { return to_utf8(from_utf8(name).substr(0, longest_name)); }

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

Text attribute(const SsmlReader::Attributes& attributes, const char* name, const char32_t* otherwise = U"") {
  const auto found = attributes.find(name);
  return found == attributes.end() ? otherwise : found->second;
}

}  // namespace

// Returns a value as Python shows it, cut to a readable length.
std::string SsmlReader::quote(View given) const {
  const View value = given.substr(0, longest_quote);
  const char mark = value.find(U'\'') != View::npos && value.find(U'"') == View::npos ? '"' : '\'';
  std::string result(1, mark);
  for (const char32_t c : value) {
    char code[16];
    const auto number = static_cast<unsigned>(c);
    if (c == static_cast<char32_t>(mark) || c == U'\\')
      result += '\\' + to_utf8(View(&c, 1));
    else if (tables_.printable.contains(c))
      result += to_utf8(View(&c, 1));
    else if (const auto named = View(U"\n\r\t").find(c); named != View::npos)
      (result += '\\') += "nrt"[named];
    else if (std::snprintf(code, sizeof code, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", number) > 0)
      result += code;
  }
  return (result += mark) + (given.size() > longest_quote ? "…" : "");
}

void SsmlReader::start(const std::string& name, const Attributes& attributes) {
  if (open_.empty() && name != "speak")
    throw request_error("ssml: expected a document in <speak>, got <" + short_name(name) + ">");
  if (open_.size() >= names_.depth_max)
    throw request_error("ssml: elements are nested deeper than " + std::to_string(names_.depth_max));
  Element element = current();
  if (names_.unspoken.count(name) != 0) {
    element.is_silent = true;
  } else if (name == "prosody") {
    flush();
    set_prosody(element, attributes);
  } else if (name == "break") {
    add_break(attributes);
  } else if (name == "sub" && attributes.count("alias") != 0) {
    add(attributes.at("alias"));
    element.is_silent = true;
  } else if (name == "phoneme") {
    set_phoneme(element, attributes);
  } else if (name == "say-as") {
    set_say_as(element, attributes);
  } else if (is_block(name)) {
    end_line(name);
  } else if (names_.plain.count(name) == 0) {
    remark("<" + short_name(name) + "> is not known; its text is spoken");
  }
  open_.push_back(element);
}

void SsmlReader::end(const std::string& name) {
  if (name == "prosody") flush();
  const Element element = current();
  open_.pop_back();
  if (element.n_sayings != current().n_sayings) {
    const Saying saying = std::move(sayings_.back());
    sayings_.pop_back();
    const Text own = tables_.strip(saying.text);
    const std::optional<Text> spoken = (say_as_.*saying.rule)(own, saying.format);
    if (!spoken) remark("<say-as interpret-as=" + quote(saying.name) + "> cannot read " + quote(own));
    add(spoken ? *spoken : saying.text);
  } else if (is_block(name)) {
    end_line(name);
  }
}

void SsmlReader::characters(View text) { add(text); }

// Adds a text to what the open element speaks.
void SsmlReader::add(View text) {
  const Element element = current();
  if (!element.is_silent) (element.n_sayings == 0 ? text_ : sayings_.back().text) += collapsed(text);
}

SpokenDocument SsmlReader::finish() {
  flush();
  SpokenDocument document{join_silent_parts(before_, parts_, tables_), {}};
  const auto& remarks = remarks_.list();
  for (std::size_t i = 0; i < std::min(remarks.size(), names_.remarks_max); ++i)
    document.remarks.push_back("ssml: " + to_utf8(remarks[i]));
  if (remarks.size() > names_.remarks_max)
    document.remarks.push_back("ssml: and " + std::to_string(remarks.size() - names_.remarks_max) + " more");
  return document;
}

void SsmlReader::end_line(const std::string& name) {
  const Element element = current();
  if (element.n_sayings == 0 && !element.is_silent) text_ += name[0] == 'p' ? U"\n\n" : U"\n";
}

// Ends a part. pause: seconds of silence after it; none: what its last mark asks for.
void SsmlReader::flush(std::optional<double> pause) {
  const Text text = tables_.strip(text_);
  text_.clear();
  if (!text.empty())
    parts_.push_back({text, pause, current().rate, current().volume});
  else if (pause && !parts_.empty())
    parts_.back().pause = parts_.back().pause.value_or(0.0) + *pause;
  else if (pause)
    before_ += *pause;
}

void SsmlReader::remark(const std::string& text) { remarks_.add(from_utf8(text)); }

void SsmlReader::add_break(const Attributes& attributes) {
  const Text time = tables_.strip(attribute(attributes, "time"));
  const Text strength = tables_.strip(attribute(attributes, "strength", U"medium"));
  double seconds = -1.0;
  if (!time.empty()) {
    if (const auto match = time_.full_match(time))
      seconds = parse_decimal(to_utf8((*match)[1])) / ((*match)[2] == U"ms" ? 1000.0 : 1.0);
    if (!(seconds >= 0.0 && seconds <= pause_max))
      throw request_error("ssml: <break time=" + quote(time) + ">: expected 0 to " + shown(pause_max) +
                          " seconds, as 500ms or 1.5s");
  } else {
    const auto found = names_.strengths.find(to_utf8(strength));
    if (found == names_.strengths.end())
      throw request_error("ssml: <break strength=" + quote(strength) + ">: expected one of " + names_.strength_names);
    seconds = found->second;
  }
  if (seconds > 0.0 && !current().is_silent && current().n_sayings == 0) flush(seconds);
}

void SsmlReader::set_prosody(Element& element, const Attributes& attributes) {
  for (const auto& [name, value] : attributes)
    if (name != "rate" && name != "volume") remark("<prosody " + short_name(name) + "> is not supported");
  const double rate = attributes.count("rate") != 0 ? factor("rate", attributes.at("rate")) : 1.0;
  const double volume = attributes.count("volume") != 0 ? factor("volume", attributes.at("volume")) : 1.0;
  element.rate = within("rate", element.rate * rate, names_.rate_range);
  element.volume = within("volume", element.volume * volume, names_.volume_range);
}

double SsmlReader::within(const char* name, double value, std::pair<double, double> limits) {
  const double nearest = std::min(std::max(value, limits.first), limits.second);
  if (nearest != value)
    remark(std::string("<prosody ") + name + ">: " + shown(value) + " is outside " + shown(limits.first) + " to " +
           shown(limits.second) + "; " + shown(nearest) + " is spoken");
  return nearest;
}

void SsmlReader::set_phoneme(Element& element, const Attributes& attributes) {
  const Text alphabet = attribute(attributes, "alphabet", U"ipa"), given = attribute(attributes, "ph");
  Text phones;
  bool are_known = true;
  for (std::size_t i = 0; i < given.size();) {
    std::size_t stop = i;
    while (stop < given.size() && !tables_.whitespace.contains(given[stop])) ++stop;
    const View phone = View(given).substr(i, stop - i);
    if (!phone.empty()) {
      are_known = are_known && phone_.full_match(phone);
      (phones += phones.empty() ? U"" : U" ") += phone;
    }
    i = stop + 1;
  }
  if (names_.alphabets.count(to_utf8(alphabet)) == 0) {
    remark("<phoneme alphabet=" + quote(alphabet) + "> is not known, only x-arpabet; its text is spoken");
  } else if (phones.empty() || !are_known) {
    remark("<phoneme ph=" + quote(given) + "> is not ARPAbet; its text is spoken");
  } else {
    for (char32_t& c : phones)
      if (c >= U'a' && c <= U'z') c -= 32;
    add(U"{" + phones + U"}");
    element.is_silent = true;
  }
}

void SsmlReader::set_say_as(Element& element, const Attributes& attributes) {
  const Text kind = attribute(attributes, "interpret-as");
  const SayAs::Rule rule = SayAs::find(to_utf8(kind));
  if (rule == nullptr) return remark("<say-as interpret-as=" + quote(kind) + "> is not known; its text is spoken");
  sayings_.push_back({rule, kind, attribute(attributes, "format"), {}});
  element.n_sayings = sayings_.size();
}

// Returns a rate or volume as a factor: of a name, 120%, +20%, -6dB, or a number (of a volume: from 0 to 100).
double SsmlReader::factor(const std::string& name, View given) const {
  const bool is_volume = name == "volume";
  const auto& named = is_volume ? names_.volumes : names_.rates;
  const Text value = tables_.strip(given);
  if (const auto found = named.find(to_utf8(value)); found != named.end()) return found->second;
  if (const auto match = number_.full_match(value)) {
    const View sign = (*match)[1], unit = (*match)[3];
    const double number = parse_decimal(to_utf8((*match)[2])), signed_number = sign == U"-" ? -number : number;
    if (unit == U"%") return sign.empty() ? number / 100.0 : std::max(1.0 + signed_number / 100.0, 0.0);
    if (is_volume && unit == U"dB") return std::pow(10.0, std::min(signed_number, decibels_max) / 20.0);
    if (unit.empty() && sign.empty()) return is_volume ? number / 100.0 : number;
  }
  throw request_error("ssml: <prosody " + name + "=" + quote(value) + ">: expected one of " +
                      (is_volume ? names_.volume_names : names_.rate_names) + ", or as in " +
                      (is_volume ? "+6dB, 80%" : "120%, -20%"));
}

// Returns the text with every run of whitespace as one space.
Text SsmlReader::collapsed(View text) const {
  Text result;
  bool was_space = false;
  for (const char32_t character : text) {
    const bool is_space = tables_.whitespace.contains(character);
    if (!is_space || !was_space) result += is_space ? U' ' : character;
    was_space = is_space;
  }
  return result;
}

}  // namespace tacoglow
