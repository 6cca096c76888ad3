#include "graph_file.hpp"

#include <cstdint>
#include <limits>

#include "error.hpp"

namespace tacoglow {
namespace {

constexpr const char* other_files = "refers to weights in other files, which are not part of a bundle";
constexpr const char* inner_graphs = "contains graphs within the graph, such as loops, which no voice has";
constexpr const char* damaged = "is damaged, or not written as ONNX models are";

// The messages of onnx.proto on the way to these.
enum class Message { none, model, graph, node, attribute, tensor, sparse_tensor };

// What a field of a message contains: another message, or what is refused.
struct Rule {
  Message message;
  std::uint64_t field;
  Message inner;
  const char* refusal;
};

constexpr Rule rules[] = {
    {Message::model, 7, Message::graph, nullptr},
    {Message::model, 25, Message::none, inner_graphs},  // functions
    {Message::graph, 1, Message::node, nullptr},
    {Message::graph, 5, Message::tensor, nullptr},
    {Message::graph, 15, Message::sparse_tensor, nullptr},
    {Message::node, 5, Message::attribute, nullptr},
    {Message::attribute, 5, Message::tensor, nullptr},
    {Message::attribute, 6, Message::none, inner_graphs},
    {Message::attribute, 10, Message::tensor, nullptr},
    {Message::attribute, 11, Message::none, inner_graphs},
    {Message::attribute, 22, Message::sparse_tensor, nullptr},
    {Message::attribute, 23, Message::sparse_tensor, nullptr},
    {Message::sparse_tensor, 1, Message::tensor, nullptr},
    {Message::sparse_tensor, 2, Message::tensor, nullptr},
    {Message::tensor, 13, Message::none, other_files},
};
constexpr int varint_bytes_max = 10;
constexpr std::uint64_t tag_max = std::numeric_limits<std::uint32_t>::max();  // protobuf drops higher bits
constexpr int fields_max = 1'000'000;                                         // graphs have some ten thousand

struct Damaged {};

// Follows the structure of a file, and skips its weights.
class GraphReader {
 public:
  explicit GraphReader(std::string_view content) : content_(content), size_(content.size()) {}

  const char* search() { return size_ == 0 ? damaged : search(Message::model, 0, size_); }

 private:
  const char* search(Message message, std::uint64_t start, std::uint64_t end) {
    while (start < end) {
      if (++fields_ > fields_max) throw Damaged();
      const std::uint64_t tag = read_varint(start);
      if (tag > tag_max) throw Damaged();
      const std::uint64_t first = find_value(tag & 7, start);
      if (start > end) throw Damaged();
      for (const Rule& rule : rules) {
        if (rule.message != message || rule.field != tag >> 3) continue;
        if (rule.refusal != nullptr) return rule.refusal;
        if (const char* found = search(rule.inner, first, start)) return found;
      }
    }
    return nullptr;
  }

  // Returns where the value of a field begins, and moves `place` from the end of its tag to that of its value.
  std::uint64_t find_value(std::uint64_t kind, std::uint64_t& place) {
    if (kind != 0 && kind != 1 && kind != 2 && kind != 5) throw Damaged();  // a group
    if (kind == 0) {
      const std::uint64_t first = place;
      read_varint(place);
      return first;
    }
    const std::uint64_t size = kind == 2 ? read_varint(place) : kind == 1 ? 8 : 4;
    if (place > size_ || size > size_ - place) throw Damaged();
    place += size;
    return place - size;
  }

  // Returns a number, or the largest one if it has more than 64 bits, and moves `place` to its end.
  std::uint64_t read_varint(std::uint64_t& place) {
    std::uint64_t value = 0;
    for (int i = 0; i < varint_bytes_max; ++i) {
      const std::uint64_t byte = read_byte(place++), bits = byte & 0x7F;
      const bool fits = i < varint_bytes_max - 1 || bits <= 1;
      value = fits ? value | bits << 7 * i : std::numeric_limits<std::uint64_t>::max();
      if (byte < 0x80) return value;
    }
    throw Damaged();
  }

  unsigned char read_byte(std::uint64_t place) const {
    if (place >= size_) throw Damaged();
    return static_cast<unsigned char>(content_[static_cast<std::size_t>(place)]);
  }

  std::string_view content_;
  std::uint64_t size_;  // bytes
  int fields_ = 0;
};

}  // namespace

const char* find_forbidden(std::string_view content) {
  try {
    return GraphReader(content).search();
  } catch (const Damaged&) {
    return damaged;
  }
}

std::string read_onnx(const BundleFiles& files, const GraphFile& graph) {
  std::string content = read_checked(files, graph);
  if (const char* forbidden = find_forbidden(content))
    throw bundle_error(files.name_of(graph.file) + ": " + forbidden + "; export the voice again");
  return content;
}

}  // namespace tacoglow
