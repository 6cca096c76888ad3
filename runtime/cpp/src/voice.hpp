// An open bundle.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "backend.hpp"
#include "tacoglow.h"
#include "text.hpp"

namespace tacoglow {

// A voice: manifest, text front end and loaded graphs. Thread-safe.
struct Voice {
  Voice(Manifest read, std::unique_ptr<Backend> opened, std::string chosen_name);

  Manifest manifest;
  TextTable text;
  std::unique_ptr<Backend> backend;
  std::string backend_name;
  tacoglow_facts facts;  // points into manifest and backend_name
};

// Opens a bundle with the named backend; "": the first that is built in. Throws Error (bundle, engine).
std::shared_ptr<const Voice> open_voice(const std::filesystem::path& bundle, const std::string& backend_name,
                                        const BackendOptions& options);

}  // namespace tacoglow
