// SHA-256 (FIPS 180-4) of files.
#pragma once

#include <filesystem>
#include <string>

namespace tacoglow {

// Lower-case hexadecimal digest. Throws Error (bundle) if the file cannot be read.
std::string file_sha256(const std::filesystem::path& path);

}  // namespace tacoglow
