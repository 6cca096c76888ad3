// Text as code points, and its conversion from and to UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace tacoglow {

using Text = std::u32string;
using View = std::u32string_view;

// Throws Error (request) that names the first byte that is not valid UTF-8.
Text from_utf8(std::string_view text);

std::string to_utf8(View text);

}  // namespace tacoglow
