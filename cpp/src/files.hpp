// Paths, and whole files that are read or written at once, as in Python's runtime/files.py.
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace tacoglow {

// Returns a caller's path: UTF-8 on Windows, any bytes elsewhere. Throws Error (request).
std::filesystem::path to_path(const std::string& name);

// Returns the same as the caller writes it.
inline std::string to_name(const std::filesystem::path& path) { return path.u8string(); }

// Returns a regular file's content, at most its first `most` bytes; nullopt if it cannot be read.
std::optional<std::string> read_file(const std::filesystem::path& path,
                                     std::size_t most = std::numeric_limits<std::size_t>::max());

// Writes a file under a temporary name beside it and renames it, so that it appears complete or not at all, also if
// several threads or processes write the same path; on Windows, where an open file may not be replaced, this is not
// known. A device, a pipe or an open file without a name is written in place. Throws Error (request) if the file cannot
// be written; an existing file is then unchanged.
void write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace tacoglow
