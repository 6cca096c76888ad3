#include "text_check.hpp"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bundle_files.hpp"
#include "error.hpp"
#include "text.hpp"

namespace tacoglow::checks {
namespace {

struct Setting {
  TextOptions options;
  std::string lexicon;  // what the options point to
};

void read_setting(const std::vector<std::string>& given, Setting& setting) {
  setting.options.max_tokens = 256;
  for (const std::string& option : given) {
    const std::string name = option.substr(0, option.find('=')), value = option.substr(option.find('=') + 1);
    if (name == "max_tokens") {
      setting.options.max_tokens = std::stoll(value);
    } else if (name == "ssml") {
      setting.options.is_ssml = value == "1";
    } else if (name == "sentence_silence") {
      setting.options.sentence_silence = std::stod(value);
    } else if (name == "lexicon") {
      std::ifstream file(value, std::ios::binary);
      setting.lexicon.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
      setting.options.lexicon = setting.lexicon;
    } else {
      throw std::invalid_argument("unknown option " + option);
    }
  }
}

nlohmann::json describe(const FrontEnd& front_end, const std::string& text, const TextOptions& options) {
  try {
    const PreparedText prepared = front_end.prepare(text, options);
    nlohmann::json pieces;
    for (const auto& piece : prepared.pieces)
      pieces.push_back({piece.text, piece.ids, piece.pause, piece.pause_before, piece.rate, piece.volume});
    return {{"pieces", pieces}, {"dropped", prepared.dropped}, {"remarks", prepared.remarks}};
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

nlohmann::json describe_words(const FrontEnd& front_end, const std::string& text) {
  nlohmann::json described = {{"ids", nlohmann::json::array()}, {"words", nlohmann::json::array()}};
  for (const auto& word : front_end.words(text)) described["words"].push_back({word.text, word.first, word.stop});
  try {
    described["ids"] = front_end.encode(text);
  } catch (const Error&) {  // nothing of it can be spoken
  }
  return described;
}

double seconds(const FrontEnd& front_end, const std::string& text, const TextOptions& options) {
  const std::clock_t start = std::clock();
  describe(front_end, text, options);
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

std::unique_ptr<const TextTables> load_text_tables(const std::string& bundle, const Manifest& manifest) {
  const FolderFiles files(bundle);
  return parse_text_tables(read_checked(files, manifest.text_tables), files.name_of(manifest.text_tables.file));
}

template <typename Show>
void for_each_text(const std::string& bundle, const Manifest& manifest, const std::vector<std::string>& given,
                   const Show& show) {
  Setting setting;
  read_setting(given, setting);
  const FrontEnd front_end(manifest, load_text_tables(bundle, manifest));
  for (std::string text; std::getline(std::cin, text, '\0');)
    std::cout << show(front_end, text, setting.options) << '\n';
}

}  // namespace

void print_texts(const std::string& bundle, const Manifest& manifest, const std::vector<std::string>& options) {
  for_each_text(bundle, manifest, options, [](const auto&... given) { return describe(given...).dump(); });
}

void print_text_times(const std::string& bundle, const Manifest& manifest, const std::vector<std::string>& options) {
  for_each_text(bundle, manifest, options, [](const auto&... given) { return seconds(given...); });
}

void print_words(const std::string& bundle, const Manifest& manifest) {
  for_each_text(bundle, manifest, {}, [](const FrontEnd& front_end, const std::string& text, const TextOptions&) {
    return describe_words(front_end, text).dump();
  });
}

}  // namespace tacoglow::checks
