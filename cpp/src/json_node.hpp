// A JSON value together with its path in the document, which every error message names.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"

namespace tacoglow {

constexpr const char* export_again = "export the voice again";

// Parses a document. Throws Error (bundle), which begins with the source and ends with the remedy, if it is not JSON or
// if an object states a field twice: programs disagree on which of the two counts.
inline nlohmann::json parse_json(std::string_view text, const std::string& source,
                                 const std::string& remedy = export_again) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> open;  // the fields of each object that has begun and not ended
  std::string twice;
  const auto check = [&](int, Event event, nlohmann::json& value) {
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key && !open.back().insert(value.get<std::string>()).second) twice = value.get<std::string>();
    return true;
  };
  auto json = nlohmann::json::parse(text.begin(), text.end(), check, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw bundle_error(source + ": damaged, not valid JSON; " + remedy);
  if (!twice.empty()) throw bundle_error(source + ": contains the field '" + twice + "' twice; " + remedy);
  return json;
}

class JsonNode {
 public:
  // remedy: what errors advise; it must outlive the node.
  JsonNode(const nlohmann::json& value, std::string place, const char* remedy = export_again)
      : value_(value), place_(std::move(place)), remedy_(remedy) {}

  JsonNode operator[](const std::string& key) const {
    if (!has(key)) fail("lacks the field '" + key + "'");
    return {value_[key], place_ + "." + key, remedy_};
  }

  bool has(const std::string& key) const {
    if (!value_.is_object()) fail("expected an object");
    return value_.contains(key) && !value_[key].is_null();
  }

  std::int64_t integer(std::int64_t min, std::int64_t max) const {
    const bool fits = value_.is_number_integer() &&
                      !(value_.is_number_unsigned() && value_.get<std::uint64_t>() > static_cast<std::uint64_t>(max));
    const std::int64_t number = fits ? value_.get<std::int64_t>() : 0;
    if (!fits || number < min || number > max)
      fail("expected a whole number from " + std::to_string(min) + " to " + std::to_string(max));
    return number;
  }

  bool boolean() const {
    if (!value_.is_boolean()) fail("expected true or false");
    return value_.get<bool>();
  }

  double number() const {
    if (!value_.is_number() || !std::isfinite(value_.get<double>())) fail("expected a number");
    return value_.get<double>();
  }

  double number(double min, double max) const {
    const double value = number();
    if (value < min || value > max)
      fail("expected a number from " + std::to_string(min) + " to " + std::to_string(max));
    return value;
  }

  // The numbers of a list, without a node for each.
  std::vector<std::int64_t> integers(std::int64_t min, std::int64_t max) const {
    if (!value_.is_array()) fail("expected a list");
    std::vector<std::int64_t> numbers;
    for (const auto& item : value_) {
      if (!item.is_number_integer() || item < min || item > max)
        fail("expected whole numbers from " + std::to_string(min) + " to " + std::to_string(max));
      numbers.push_back(item.get<std::int64_t>());
    }
    return numbers;
  }

  bool is_text() const { return value_.is_string(); }

  std::string text() const {
    if (!is_text()) fail("expected a string");
    return value_.get<std::string>();
  }

  std::vector<JsonNode> items() const {
    if (!value_.is_array()) fail("expected a list");
    std::vector<JsonNode> nodes;
    for (std::size_t i = 0; i < value_.size(); ++i)
      nodes.emplace_back(value_[i], place_ + "[" + std::to_string(i) + "]", remedy_);
    return nodes;
  }

  std::vector<std::pair<std::string, JsonNode>> fields() const {
    if (!value_.is_object()) fail("expected an object");
    std::vector<std::pair<std::string, JsonNode>> nodes;
    for (const auto& field : value_.items())
      nodes.emplace_back(field.key(), JsonNode(field.value(), place_ + "." + field.key(), remedy_));
    return nodes;
  }

  [[noreturn]] void fail(const std::string& what) const { throw bundle_error(place_ + ": " + what + "; " + remedy_); }

 private:
  const nlohmann::json& value_;
  std::string place_;
  const char* remedy_;
};

}  // namespace tacoglow
