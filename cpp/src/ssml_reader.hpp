// Collects the parts of an SSML document from the elements and texts that a parser finds in it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sequence.hpp"
#include "ssml.hpp"

namespace tacoglow {

class SsmlReader {
 public:
  using Attributes = std::map<std::string, Text>;

  explicit SsmlReader(const TextTables& tables) : tables_(tables), names_(tables.ssml), say_as_(tables) {}

  // Each throws Error (request) for a document that cannot be spoken.
  void start(const std::string& name, const Attributes& attributes);
  void end(const std::string& name);
  void characters(View text);
  SpokenDocument finish();

 private:
  // An open element: how its text is spoken. Small, because each element begins as a copy of the one around it.
  struct Element {
    double rate = 1, volume = 1;
    bool is_silent = false;     // its text is not spoken
    std::size_t n_sayings = 0;  // open elements whose whole text is turned into words, up to this one
  };

  // An open <say-as>, whose whole text is turned into words.
  struct Saying {
    SayAs::Rule rule;
    Text name, format, text;
  };

  Element current() const { return open_.empty() ? Element() : open_.back(); }
  void add(View text);
  void end_line(const std::string& name);
  void flush(std::optional<double> pause = std::nullopt);
  void remark(const std::string& text);
  void add_break(const Attributes& attributes);
  void set_prosody(Element& element, const Attributes& attributes);
  void set_phoneme(Element& element, const Attributes& attributes);
  void set_say_as(Element& element, const Attributes& attributes);
  double within(const char* name, double value, std::pair<double, double> limits);
  double factor(const std::string& name, View value) const;
  Text collapsed(View text) const;
  std::string quote(View given) const;

  const TextTables& tables_;
  const SsmlTables& names_;
  SayAs say_as_;
  const Pattern& time_ = tables_.pattern("ssml.time");
  const Pattern& number_ = tables_.pattern("ssml.number");
  const Pattern& phone_ = tables_.pattern("ssml.phone");
  std::vector<Element> open_;
  std::vector<PausedPart> parts_;
  Text text_;                    // since the last part
  std::vector<Saying> sayings_;  // the open ones
  double before_ = 0;
  Names remarks_;
};

}  // namespace tacoglow
