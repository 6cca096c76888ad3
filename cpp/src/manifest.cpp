#include "manifest.hpp"

#include <algorithm>

#include "error.hpp"
#include "json_node.hpp"
#include "sha256.hpp"
#include "unicode.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t format_version = 1, format_minor = 0;
constexpr const char* vocoder_kinds[] = {"waveglow", "hifigan"};
// Far above the numbers of any voice, and far enough below 2^63 that products of a few of them cannot overflow.
constexpr std::int64_t count_max = std::int64_t{1} << 20;
constexpr std::size_t rank_max = 4;

bool is_letter(char c) { return c >= 'A' && c <= 'Z'; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

ShapeEntry read_shape_entry(const JsonNode& node, const Manifest& manifest) {
  if (!node.is_text()) return {0, node.integer(1, count_max)};
  const std::string text = node.text();
  const std::string factor = text.size() > 2 ? text.substr(2) : "1";
  const bool is_entry = !text.empty() && manifest.dimensions.count(text[0]) != 0 &&
                        (text.size() == 1 || (text[1] == '*' && text.size() > 2)) && factor.size() < 7 &&
                        std::all_of(factor.begin(), factor.end(), is_digit) && std::stoll(factor) > 0;
  if (!is_entry) node.fail("expected a number, a letter with a range in dimensions, or LETTER*NUMBER");
  return {text[0], std::stoll(factor)};
}

DType read_dtype(const JsonNode& node) {
  const std::string name = node.text();
  if (name == "float32") return DType::float32;
  if (name == "int32") return DType::int32;
  if (name != "bool") node.fail("expected float32, int32 or bool");
  return DType::boolean;
}

std::vector<TensorSpec> read_tensors(const JsonNode& node, const Manifest& manifest) {
  std::vector<TensorSpec> tensors;
  for (const auto& item : node.items()) {
    TensorSpec spec{item["name"].text(), read_dtype(item["dtype"]), {}};
    for (const auto& entry : item["shape"].items()) spec.shape.push_back(read_shape_entry(entry, manifest));
    if (spec.shape.empty() || spec.shape.size() > rank_max) item.fail("expected a shape of 1 to 4 dimensions");
    tensors.push_back(std::move(spec));
  }
  return tensors;
}

// A name without what would break a line, a header or a terminal.
std::string read_name(const JsonNode& node) {
  const std::u32string name = from_utf8(node.text());
  const auto is_control = [](char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029; };
  if (std::any_of(name.begin(), name.end(), is_control)) node.fail("expected no control characters");
  return to_utf8(name);
}

GraphFile read_file(const JsonNode& node) {
  GraphFile graph{node["file"].text(), node["sha256"].text()};
  if (!is_plain_file_name(graph.file)) node["file"].fail("expected a plain file name");
  return graph;
}

std::map<std::string, GraphFile> read_files(const JsonNode& node, const std::string& vocoder) {
  std::map<std::string, GraphFile> files;
  for (const std::string& name :
       {std::string("encoder"), std::string("decoder_step"), std::string("postnet"), vocoder, std::string("denoiser")})
    files[name] = read_file(node[name]);
  return files;
}

// Returns the value of the first field that is called digest, without its quotes; if there is none, an empty view at
// the end of the text.
std::string_view find_digest(std::string_view text) {
  constexpr std::string_view key = "\"digest\"", space = " \t\n\r\f\v";
  for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    const std::size_t colon = text.find_first_not_of(space, at + key.size());
    if (colon == std::string_view::npos || text[colon] != ':') continue;
    const std::size_t open = text.find_first_not_of(space, colon + 1);
    if (open == std::string_view::npos || text[open] != '"') continue;
    const std::size_t close = text.find('"', open + 1);
    if (close != std::string_view::npos) return text.substr(open + 1, close - open - 1);
  }
  return text.substr(text.size());
}

void read_dimensions(const JsonNode& node, Manifest& manifest) {
  for (const auto& [letter, range] : node.fields()) {
    if (letter.size() != 1 || !is_letter(letter[0])) range.fail("expected a capital letter as the name");
    const std::int64_t max = range["max"].integer(1, count_max * count_max);
    const std::int64_t typical = range["typical"].integer(1, max);
    manifest.dimensions[letter[0]] = {range["min"].integer(1, typical), max};
  }
  for (const char letter : {'B', 'T', 'F', 'S'})
    if (manifest.dimensions.count(letter) == 0) node.fail(std::string("lacks the range of ") + letter);
  if (manifest.dimensions['T'].max > count_max || manifest.dimensions['S'].min > count_max)
    node.fail("T or S exceeds what this runtime supports");
}

void check_format(const JsonNode& root, const std::string& source) {
  const std::int64_t version = root["format_version"].integer(0, count_max);
  const auto check_newest = [&](const std::string& name, std::int64_t got, std::int64_t newest) {
    if (got > newest)
      throw bundle_error(source + ": " + name + " " + std::to_string(got) + " is newer than the " +
                         std::to_string(newest) + " that this version reads; upgrade tacoglow");
  };
  check_newest("format_version", version, format_version);
  if (version != format_version) root["format_version"].fail("expected " + std::to_string(format_version));
  check_newest("format_minor", root["format_minor"].integer(0, count_max), format_minor);
}

Synthesis read_synthesis(const JsonNode& node) {
  const std::int64_t window = node["window_frames"].integer(1, count_max);
  return {window, node["smallest_token_bucket"].integer(1, count_max), node["first_segment_frames"].integer(1, window),
          node["segment_frames"].integer(1, window), node["context_frames"].integer(0, count_max)};
}

Ending read_ending(const JsonNode& node) {
  const Ending ending = {node["attention_patience"].integer(1, count_max), node["frames"].integer(1, count_max),
                         node["frames_per_token"].number(0.0, count_max)};
  if (ending.frames_per_token == 0.0) node["frames_per_token"].fail("expected a number above 0");
  return ending;
}

void read_vocoder(const JsonNode& node, Manifest& manifest) {
  manifest.vocoder = node["kind"].text();
  if (std::find(std::begin(vocoder_kinds), std::end(vocoder_kinds), manifest.vocoder) == std::end(vocoder_kinds))
    node["kind"].fail("expected waveglow or hifigan");
  if (manifest.vocoder == "waveglow") {
    manifest.group_size = node["group_size"].integer(1, manifest.hop_length);
    if (manifest.hop_length % manifest.group_size != 0) node["group_size"].fail("expected a divisor of hop_length");
    manifest.sigma = node["sigma"].number(0.0, strength_max);
  } else {
    manifest.min_frames = node["min_frames"].integer(1, count_max);
  }
  manifest.frames_before = node["frames_before"].integer(0, count_max);
  manifest.frames_after = node["frames_after"].integer(0, count_max);
}

void read_settings(const JsonNode& root, Manifest& manifest) {
  const JsonNode voice = root["voice"];
  manifest.name = read_name(voice["name"]);
  if (voice.has("language")) manifest.language = read_name(voice["language"]);
  if (root.has("digest")) manifest.digest = root["digest"].text();
  manifest.precision = root["precision"].text();
  if (manifest.precision != "fp32" && manifest.precision != "fp16" && manifest.precision != "bf16")
    root["precision"].fail("expected fp32, fp16 or bf16");
  manifest.sampling_rate = root["audio"]["sampling_rate"].integer(1, count_max);
  manifest.hop_length = root["audio"]["hop_length"].integer(1, count_max);
  manifest.filter_length = root["audio"]["filter_length"].integer(1, count_max);
  manifest.n_mel_channels = root["audio"]["n_mel_channels"].integer(1, count_max);
  // Not used here, but a bundle is valid for both runtimes or for neither.
  root["audio"]["win_length"].integer(1, count_max);
  for (const char* name : {"mel_fmin", "mel_fmax"}) root["audio"][name].number(0.0, count_max);
  for (const auto& item : root["text"]["symbols"].items()) manifest.symbols.push_back(item.text());
  for (const auto& item : root["text"]["cleaners"].items()) manifest.cleaners.push_back(item.text());
  manifest.final_mark = root["text"]["final_mark"].text();
  if (!manifest.final_mark.empty() &&
      std::find(manifest.symbols.begin(), manifest.symbols.end(), manifest.final_mark) == manifest.symbols.end())
    root["text"]["final_mark"].fail("expected one of the symbols");
  if (root["text"].has("lexicon"))
    for (const auto& [word, spoken] : root["text"]["lexicon"].fields()) manifest.lexicon[word] = spoken.text();
  if (root["text"].has("untrained"))
    for (const auto& item : root["text"]["untrained"].items()) manifest.untrained.push_back(item.text());
  manifest.text_tables = read_file(root["text"]["tables"]);
  const JsonNode decoder = root["decoder"], vocoder = root["vocoder"];
  manifest.gate_threshold = decoder["gate_threshold"].number();
  if (manifest.gate_threshold <= 0 || manifest.gate_threshold >= 1)
    decoder["gate_threshold"].fail("expected a probability between 0 and 1");
  manifest.frames_per_step = decoder["frames_per_step"].integer(1, count_max);
  manifest.max_frames = decoder["max_frames"].integer(1, count_max);
  if (manifest.max_frames % manifest.frames_per_step != 0)
    decoder["max_frames"].fail("expected a multiple of frames_per_step");
  if (decoder.has("ending")) manifest.ending = read_ending(decoder["ending"]);
  manifest.prenet_layers = decoder["prenet_layers"].integer(1, count_max);
  manifest.prenet_dim = decoder["prenet_dim"].integer(1, count_max);
  manifest.postnet_frames = decoder["postnet_frames"].integer(0, count_max);
  for (const auto& [source, target] : decoder["states"].fields()) manifest.states[source] = target.text();
  read_vocoder(vocoder, manifest);
  manifest.synthesis = read_synthesis(root["synthesis"]);
}

}  // namespace

void check_digest(std::string_view text, const Manifest& manifest, const std::string& source) {
  const std::string_view digest = find_digest(text);
  std::string blank(text);
  blank.replace(static_cast<std::size_t>(digest.data() - text.data()), digest.size(), 64, '0');
  if (digest != manifest.digest || sha256(blank) != digest)
    throw bundle_error(source + ": was changed after it was written (digest mismatch); export the voice again");
}

std::string ShapeEntry::text() const {
  if (letter == 0) return std::to_string(factor);
  return factor == 1 ? std::string(1, letter) : std::string(1, letter) + "*" + std::to_string(factor);
}

Shape TensorSpec::resolve(const Dims& dims) const {
  Shape sizes;
  for (const auto& [letter, factor] : shape) sizes.push_back(letter == 0 ? factor : dims.at(letter) * factor);
  return sizes;
}

const TensorSpec& GraphSpec::tensor(const std::string& name) const {
  for (const auto* tensors : {&inputs, &outputs})
    for (const auto& spec : *tensors)
      if (spec.name == name) return spec;
  throw bundle_error(file + ": the manifest does not list tensor '" + name + "'; export the voice again");
}

std::vector<std::int64_t> doubling(std::int64_t first, std::int64_t limit) {
  std::vector<std::int64_t> sizes;
  for (; first < limit; first *= 2) sizes.push_back(first);
  sizes.push_back(limit);
  return sizes;
}

Manifest parse_manifest(std::string_view text, const std::string& source) {
  const auto json = parse_json(text, source);
  const JsonNode root(json, source + ": $");
  check_format(root, source);
  Manifest manifest;
  read_settings(root, manifest);
  read_dimensions(root["dimensions"], manifest);
  for (const auto& [name, file] : read_files(root["graphs"], manifest.vocoder)) {
    const JsonNode node = root["graphs"][name];
    manifest.graphs[name] = {file, read_tensors(node["inputs"], manifest), read_tensors(node["outputs"], manifest)};
  }
  if (root.has("int8_decoder")) manifest.int8_decoder = read_file(root["int8_decoder"]);
  if (root.has("torchscript")) manifest.torchscript = read_files(root["torchscript"]["graphs"], manifest.vocoder);
  check_contract(manifest, source);
  return manifest;
}

bool is_plain_file_name(const std::string& name) {
  const auto is_plain = [](char c) {
    return is_letter(c) || is_digit(c) || (c >= 'a' && c <= 'z') || c == '_' || c == '-' || c == '.';
  };
  return !name.empty() && name[0] != '.' && name[0] != '-' && std::all_of(name.begin(), name.end(), is_plain);
}

}  // namespace tacoglow
