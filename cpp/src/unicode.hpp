// Conversion between UTF-8 and code points.
#pragma once

#include <string>
#include <string_view>

namespace tacoglow {

// Throws Error (request) that names the first byte that is not valid UTF-8.
std::u32string from_utf8(std::string_view text);

std::string to_utf8(std::u32string_view text);

}  // namespace tacoglow
