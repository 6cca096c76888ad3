// The files of a bundle: in a folder, in memory, or where a caller's loader finds them.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "files.hpp"
#include "manifest.hpp"
#include "tacoglow.h"

namespace tacoglow {

// Used by several threads at once.
class BundleFiles {
 public:
  virtual ~BundleFiles() = default;
  // Returns the first bytes of a file, at most `most`; nullopt if there is no such file. Throws Error (bundle) if it
  // cannot be read.
  virtual std::optional<std::string> read(const std::string& name, std::size_t most) const = 0;
  // The bundle's name in messages.
  virtual std::string name() const = 0;
  // The name of one of its files in messages.
  std::string name_of(const std::string& file) const { return (to_path(name()) / file).generic_u8string(); }
};

class FolderFiles : public BundleFiles {
 public:
  explicit FolderFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::optional<std::string> read(const std::string& name, std::size_t most) const override;
  std::string name() const override { return to_name(folder_); }

 private:
  std::filesystem::path folder_;
};

// Files that a caller's loader reads, one at a time.
class LoadedFiles : public BundleFiles {
 public:
  // Throws Error (request) if a function is missing.
  LoadedFiles(std::string name, const tacoglow_loader& loader);
  std::optional<std::string> read(const std::string& name, std::size_t most) const override;
  std::string name() const override { return name_; }

 private:
  std::string name_;
  tacoglow_loader loader_;
  mutable std::mutex mutex_;
};

// Files in the caller's memory, which must outlive this object.
class MemoryFiles : public BundleFiles {
 public:
  // Throws Error (request) for a file without a name or content.
  MemoryFiles(std::string name, const tacoglow_file* files, std::size_t n_files);
  std::optional<std::string> read(const std::string& name, std::size_t most) const override;
  std::string name() const override { return name_; }

 private:
  std::string name_;
  std::map<std::string, std::string_view> contents_;
};

// Reads manifest.json of a bundle and checks its digest. Throws Error (bundle).
Manifest load_manifest(const BundleFiles& files);

// Returns the content of a file that the manifest names. Throws Error (bundle) unless its SHA-256 is the manifest's.
std::string read_checked(const BundleFiles& files, const GraphFile& file);

}  // namespace tacoglow
