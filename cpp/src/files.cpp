#include "files.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "error.hpp"

#if defined(_WIN32)
#include <io.h>
#include <sys/stat.h>
#else
#include <unistd.h>
#endif

namespace tacoglow {
namespace {

constexpr int most_links = 40;                                    // as Linux follows
constexpr std::size_t most_bytes_at_once = std::size_t{1} << 30;  // write() of Windows has 32 bits for a size

#if defined(_WIN32)
int open_existing(const std::filesystem::path& path) { return _wopen(path.c_str(), _O_WRONLY | _O_BINARY); }

int create_new(const std::filesystem::path& path) {
  return _wopen(path.c_str(), _O_WRONLY | _O_BINARY | _O_CREAT | _O_EXCL | _O_NOINHERIT, _S_IREAD | _S_IWRITE);
}

std::int64_t write_some(int file, const char* bytes, std::size_t size) {
  return _write(file, bytes, static_cast<unsigned>(size));
}

int close_file(int file) { return _close(file); }
#else
int open_existing(const std::filesystem::path& path) { return open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC); }

int create_new(const std::filesystem::path& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
}

std::int64_t write_some(int file, const char* bytes, std::size_t size) { return write(file, bytes, size); }

int close_file(int file) { return close(file); }
#endif

std::error_code last_error() { return {errno, std::generic_category()}; }

// Writes to an open file, and closes it.
std::error_code write_and_close(int file, std::string_view bytes) {
  std::error_code error;
  while (!bytes.empty() && !error) {
    const std::int64_t written = write_some(file, bytes.data(), std::min(bytes.size(), most_bytes_at_once));
    if (written >= 0)
      bytes.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR)
      error = last_error();
  }
  if (close_file(file) != 0 && !error) error = last_error();
  return error;
}

// Returns a name beside the path that nobody can foresee, so that nobody can put a link in its place.
std::filesystem::path partial_path(const std::filesystem::path& path) {
  std::random_device random;
  std::string name = ".";
  for (std::uint64_t bits = std::uint64_t{random()} << 32 | random(); bits != 0; bits >>= 4)
    name += "0123456789abcdef"[bits & 15];
  return path.parent_path() / (name + ".partial");
}

// Returns the file that a path leads to, which need not exist yet, so that links stay.
std::filesystem::path follow_links(std::filesystem::path path, std::error_code& error) {
  std::error_code unknown;
  for (int links = 0; std::filesystem::is_symlink(std::filesystem::symlink_status(path, unknown)); ++links) {
    if (links == most_links) {
      error = std::make_error_code(std::errc::too_many_symbolic_link_levels);
      return path;
    }
    const std::filesystem::path target = std::filesystem::read_symlink(path, error);
    if (error) return path;
    path = path.parent_path() / target;
  }
  return path;
}

std::error_code replace_file(const std::filesystem::path& path, std::string_view bytes) {
  std::error_code error, ignored;
  const std::filesystem::path partial = partial_path(path);
  const int file = create_new(partial);
  if (file < 0) return last_error();
  error = write_and_close(file, bytes);
  if (!error) std::filesystem::rename(partial, path, error);
  if (error) std::filesystem::remove(partial, ignored);
  return error;
}

std::error_code write_in_place(const std::filesystem::path& path, std::string_view bytes) {
  const int file = open_existing(path);
  return file < 0 ? last_error() : write_and_close(file, bytes);
}

}  // namespace

std::filesystem::path to_path(const std::string& name) {
#if defined(_WIN32)
  try {
    return std::filesystem::u8path(name);
  } catch (const std::exception&) {  // the standard does not say which
    throw request_error("path: expected UTF-8");
  }
#else
  return name;
#endif
}

std::optional<std::string> read_file(const std::filesystem::path& path, std::size_t most) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  const auto size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) return std::nullopt;
  std::string content(static_cast<std::size_t>(std::min<std::uintmax_t>(size, most)), '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  return file ? std::optional(std::move(content)) : std::nullopt;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::error_code error, unknown;
  const std::filesystem::path target = follow_links(path, error);
  const std::filesystem::file_status status = std::filesystem::status(path, unknown);
  // An open file without a name, as of memfd_create, has a link in /proc whose text leads elsewhere.
  const bool has_name = target == path || std::filesystem::equivalent(target, path, unknown);
  const bool is_new = !std::filesystem::exists(status), is_file = std::filesystem::is_regular_file(status);
  if (!error) error = is_new || (is_file && has_name) ? replace_file(target, bytes) : write_in_place(path, bytes);
  if (error) throw request_error(to_name(path) + ": cannot write the file: " + error.message());
}

}  // namespace tacoglow
