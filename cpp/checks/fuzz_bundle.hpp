// The bundle that fuzz_api.cpp opens: in its folder, in memory, or through a loader, and damaged on the way.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "fuzz_inputs.hpp"

class FuzzedBundle {
 public:
  explicit FuzzedBundle(std::string folder) : folder_(std::move(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      std::string content(entry.file_size(), '\0');
      file.read(content.data(), static_cast<std::streamsize>(content.size()));
      files_.emplace_back(entry.path().filename().string(), std::move(content));
    }
    std::sort(files_.begin(), files_.end());  // so that a seed means the same on every file system
  }

  // Opens it with the caller's options, one way or another.
  tacoglow_voice* open_somehow(tacoglow_open_options options) {
    switch (pick(3)) {
      case 0:
        return rarely() ? open_from(options, pick(2) == 0 ? "/nowhere" : nullptr) : open(options);
      case 1:
        return open_from_memory(options);
      default:
        return open_with_loader(options);
    }
  }

  tacoglow_voice* open(const tacoglow_open_options& options) { return open_from(options, folder_.c_str()); }

 private:
  using Files = std::vector<std::pair<std::string, std::string>>;  // names and contents
  enum class Damage { none, missing, truncated, changed, null, unreadable, too_long, n_kinds };

  static Damage a_damage() {
    return pick(2) == 0 ? Damage::none : static_cast<Damage>(pick(static_cast<std::size_t>(Damage::n_kinds)));
  }

  static tacoglow_voice* open_from(const tacoglow_open_options& options, const char* name) {
    tacoglow_voice* voice = nullptr;
    const tacoglow_status status = tacoglow_voice_open(name, Cut(options).get(), &voice);
    check(status, voice != nullptr);
    return voice;
  }

  static void damage(std::string& content, Damage how) {
    if (content.empty()) return;
    if (how == Damage::truncated) content.resize(pick(content.size()));
    if (how == Damage::changed) content[pick(content.size())] ^= static_cast<char>(1 + pick(255));
  }

  tacoglow_voice* open_from_memory(tacoglow_open_options& options) const {
    std::vector<tacoglow_file> listed;
    const Damage how = a_damage();
    const std::size_t index = pick(files_.size());
    std::string damaged = files_[index].second;
    damage(damaged, how);
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const std::string& content = i == index ? damaged : files_[i].second;
      if (i == index && how == Damage::missing) continue;
      const bool is_null = i == index && how == Damage::null;
      listed.push_back({is_null && pick(2) == 0 ? nullptr : files_[i].first.c_str(), is_null ? nullptr : content.data(),
                        content.size()});
    }
    options.files = listed.data();
    options.n_files = listed.size();
    return open_from(options, "archive");
  }

  // A loader's state. It is called by one thread at a time.
  struct Loading {
    const Files& files;
    std::size_t damaged;  // index of a file
    Damage how;
    std::size_t most;  // bytes of a piece
    int n_opened = 0, n_closed = 0;
  };
  struct LoadedFile {
    std::string content;
    std::size_t done = 0;
    Damage how;
  };

  static void* open_file(const char* name, void* user) {
    if (user == nullptr) return nullptr;  // the last field may be cut off
    auto& loading = *static_cast<Loading*>(user);
    for (std::size_t i = 0; i < loading.files.size(); ++i) {
      const auto& [own, content] = loading.files[i];
      const Damage how = i == loading.damaged ? loading.how : Damage::none;
      if (own != name || how == Damage::missing) continue;
      ++loading.n_opened;
      auto* file = new LoadedFile{content, 0, how};
      damage(file->content, how);
      return file;
    }
    return nullptr;
  }

  static std::int64_t read_file(void* opened, void* bytes, std::size_t n_bytes, void* user) {
    auto& file = *static_cast<LoadedFile*>(opened);
    if (file.how == Damage::unreadable) return -1;
    if (file.how == Damage::too_long) return static_cast<std::int64_t>(n_bytes) + 1;
    const std::size_t n = std::min({n_bytes, static_cast<Loading*>(user)->most, file.content.size() - file.done});
    std::memcpy(bytes, file.content.data() + file.done, n);
    file.done += n;
    return static_cast<std::int64_t>(n);
  }

  static void close_file(void* opened, void* user) {
    ++static_cast<Loading*>(user)->n_closed;
    delete static_cast<LoadedFile*>(opened);
  }

  tacoglow_voice* open_with_loader(tacoglow_open_options& options) const {
    constexpr std::size_t pieces[] = {500, 60'000, SIZE_MAX};
    Loading loading = {files_, pick(files_.size()), a_damage(), pick_from(pieces)};
    tacoglow_loader loader;
    tacoglow_loader_init(&loader);
    loader.open = loading.how == Damage::null ? nullptr : open_file;
    loader.read = read_file;
    loader.close = close_file;
    loader.user = &loading;
    if (rarely()) loader.struct_size = pick(sizeof loader + 100);
    const Cut<tacoglow_loader> cut(loader);
    options.loader = cut.get();
    const tacoglow_file none{};
    if (rarely()) options.files = &none;  // one or the other
    tacoglow_voice* voice = open_from(options, "archive");
    REQUIRE(loading.n_opened == loading.n_closed);
    return voice;
  }

  std::string folder_;
  Files files_;
};
