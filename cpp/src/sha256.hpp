// SHA-256 (FIPS 180-4).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace tacoglow {

// Both return the digest in lower-case hexadecimal.
std::string sha256(std::string_view bytes);

// Throws Error (bundle) if the file cannot be read.
std::string file_sha256(const std::filesystem::path& path);

}  // namespace tacoglow
