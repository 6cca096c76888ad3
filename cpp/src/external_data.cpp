#include "external_data.hpp"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "error.hpp"

namespace tacoglow {
namespace {

// Every reference to a file contains this key. Before it is its length, 8, as a protobuf varint of up to 10 bytes,
// which may be padded; names such as "/decoder/location_conv" follow other characters.
constexpr std::string_view key = "location";
constexpr std::size_t varint_bytes_max = 10;
constexpr std::size_t block_bytes = std::size_t{1} << 20;

// True if the text ends with the number 8 as a varint.
bool ends_with_length(std::string_view text) {
  const auto byte_before_end = [&](std::size_t i) { return static_cast<unsigned char>(text[text.size() - i]); };
  if (text.empty()) return false;
  if (byte_before_end(1) == 0x08) return true;
  if (byte_before_end(1) != 0x00) return false;
  std::size_t i = 2;
  while (i <= text.size() && byte_before_end(i) == 0x80) ++i;
  return i <= text.size() && byte_before_end(i) == 0x88;
}

bool contains_reference(std::string_view text) {
  for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    const std::size_t start = at < varint_bytes_max ? 0 : at - varint_bytes_max;
    if (ends_with_length(text.substr(start, at - start))) return true;
  }
  return false;
}

}  // namespace

bool has_external_data(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;  // one block, after the last bytes of the block before it
  for (bool is_last = false; !is_last;) {
    text.erase(0, text.size() - std::min(text.size(), varint_bytes_max + key.size()));
    const std::size_t kept = text.size();
    text.resize(kept + block_bytes);
    file.read(text.data() + kept, static_cast<std::streamsize>(block_bytes));
    text.resize(kept + static_cast<std::size_t>(file.gcount()));
    is_last = text.size() < kept + block_bytes;
    if (contains_reference(text)) return true;
  }
  if (!file.eof()) throw bundle_error(path.string() + ": cannot read the file");
  return false;
}

std::filesystem::path onnx_path(const std::filesystem::path& bundle, const GraphFile& graph) {
  const std::filesystem::path path = graph_path(bundle, graph);
  if (has_external_data(path))
    throw bundle_error(path.string() +
                       ": refers to weights in other files, which are not part of a bundle; export the voice again");
  return path;
}

}  // namespace tacoglow
