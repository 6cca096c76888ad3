#include "bundle_files.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "error.hpp"
#include "sha256.hpp"

namespace tacoglow {
namespace {

constexpr const char* manifest_name = "manifest.json";
constexpr std::size_t manifest_bytes_max = std::size_t{16} << 20;
constexpr std::size_t read_bytes = std::size_t{1} << 20;  // per call of a loader

// An open file of a loader.
class LoadedFile {
 public:
  LoadedFile(const tacoglow_loader& loader, const std::string& name)
      : loader_(loader), file_(loader.open(name.c_str(), loader.user)) {}
  ~LoadedFile() {
    if (file_ != nullptr) loader_.close(file_, loader_.user);
  }
  LoadedFile(const LoadedFile&) = delete;
  LoadedFile& operator=(const LoadedFile&) = delete;

  bool exists() const { return file_ != nullptr; }
  // Returns the number of bytes read, 0 at the end; negative if reading failed.
  std::int64_t read(char* bytes, std::size_t size) { return loader_.read(file_, bytes, size, loader_.user); }

 private:
  const tacoglow_loader& loader_;
  void* file_;
};

}  // namespace

std::optional<std::string> FolderFiles::read(const std::string& name, std::size_t most) const {
  const std::filesystem::path path = folder_ / name;
  std::optional<std::string> content = read_file(path, most);
  std::error_code unknown;
  if (!content && std::filesystem::is_regular_file(path, unknown))
    throw bundle_error(to_name(path) + ": cannot read the file");
  return content;
}

LoadedFiles::LoadedFiles(std::string name, const tacoglow_loader& loader) : name_(std::move(name)), loader_(loader) {
  if (loader.open == nullptr || loader.read == nullptr || loader.close == nullptr)
    throw request_error("loader: open, read or close is NULL");
}

std::optional<std::string> LoadedFiles::read(const std::string& name, std::size_t most) const {
  const std::lock_guard lock(mutex_);
  LoadedFile file(loader_, name);
  if (!file.exists()) return std::nullopt;
  std::string content;
  std::size_t done = 0;
  while (done < most) {
    // Only once it is full, because loaders may return a few bytes at a time.
    if (done == content.size()) content.resize(done + std::min(read_bytes, most - done));
    const std::size_t wanted = content.size() - done;
    const std::int64_t got = file.read(content.data() + done, wanted);
    if (got < 0 || static_cast<std::uint64_t>(got) > wanted)
      throw bundle_error(name_of(name) + ": the loader cannot read the file, or has read more than it should");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  content.resize(done);
  return content;
}

MemoryFiles::MemoryFiles(std::string name, const tacoglow_file* files, std::size_t n_files) : name_(std::move(name)) {
  for (std::size_t i = 0; i < n_files; ++i) {
    if (files[i].name == nullptr || files[i].bytes == nullptr)
      throw request_error("files[" + std::to_string(i) + "]: name or bytes is NULL");
    contents_[files[i].name] = {static_cast<const char*>(files[i].bytes), files[i].n_bytes};
  }
}

std::optional<std::string> MemoryFiles::read(const std::string& name, std::size_t most) const {
  const auto found = contents_.find(name);
  if (found == contents_.end()) return std::nullopt;
  return std::string(found->second.substr(0, most));
}

Manifest load_manifest(const BundleFiles& files) {
  const auto text = files.read(manifest_name, manifest_bytes_max + 1);
  const std::string source = files.name_of(manifest_name);
  if (!text)
    throw bundle_error(files.name() + ": not a bundle: cannot read " + manifest_name +
                       "; create one with: export-onnx --demo -o " + files.name());
  if (text->size() > manifest_bytes_max) throw bundle_error(source + ": larger than 16 MiB; export the voice again");
  Manifest manifest = parse_manifest(*text, source);
  check_digest(*text, manifest, source);
  return manifest;
}

std::string read_checked(const BundleFiles& files, const GraphFile& file) {
  auto content = files.read(file.file, std::numeric_limits<std::size_t>::max());
  if (!content) throw bundle_error(files.name_of(file.file) + ": file not found; export the voice again");
  const std::string digest = sha256(*content);
  if (digest != file.sha256)
    throw bundle_error(files.name_of(file.file) + ": SHA-256: expected " + file.sha256.substr(0, 12) + "…, got " +
                       digest.substr(0, 12) + "…: the file was changed or truncated; export the voice again");
  return std::move(*content);
}

}  // namespace tacoglow
