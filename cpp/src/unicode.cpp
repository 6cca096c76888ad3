#include "unicode.hpp"

#include <cstdint>

#include "error.hpp"

namespace tacoglow {
namespace {

struct Sequence {
  std::size_t length = 0;  // bytes; 0: not valid
  char32_t smallest = 0;   // smallest code point that needs this length
  char32_t first = 0;      // bits of the code point in the first byte
};

Sequence sequence(unsigned char lead) {
  if (lead < 0x80) return {1, 0, lead};
  if (lead >= 0xC2 && lead < 0xE0) return {2, 0x80, lead & 0x1Fu};
  if (lead >= 0xE0 && lead < 0xF0) return {3, 0x800, lead & 0x0Fu};
  if (lead >= 0xF0 && lead < 0xF5) return {4, 0x10000, lead & 0x07u};
  return {};
}

}  // namespace

std::u32string from_utf8(std::string_view text) {
  std::u32string result;
  for (std::size_t i = 0; i < text.size();) {
    const Sequence read = sequence(static_cast<unsigned char>(text[i]));
    bool valid = read.length > 0 && i + read.length <= text.size();
    char32_t code = read.first;
    for (std::size_t k = 1; valid && k < read.length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      valid = (byte & 0xC0u) == 0x80u;
      code = (code << 6) | (byte & 0x3Fu);
    }
    if (!valid || code < read.smallest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
      throw request_error("text: byte " + std::to_string(i) + " is not valid UTF-8; encode the text as UTF-8");
    result += code;
    i += read.length;
  }
  return result;
}

std::string to_utf8(std::u32string_view text) {
  std::string result;
  for (const char32_t code : text) {
    const int continuation = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes after the first
    constexpr unsigned leads[] = {0x00, 0xC0, 0xE0, 0xF0};
    result += static_cast<char>(leads[continuation] | (code >> (6 * continuation)));
    for (int i = continuation - 1; i >= 0; --i) result += static_cast<char>(0x80u | ((code >> (6 * i)) & 0x3Fu));
  }
  return result;
}

}  // namespace tacoglow
