// A bundle, opened.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "backend.hpp"
#include "tacoglow.h"
#include "text.hpp"

namespace tacoglow {

// Safe for use from several threads.
struct Voice {
  Voice(Manifest read, std::unique_ptr<Backend> opened, std::string chosen_name);

  Manifest manifest;
  TextTable text;
  std::unique_ptr<Backend> backend;
  std::string backend_name;
  tacoglow_facts facts;  // points into manifest and backend_name
};

// Throws Error (bundle, engine). backend_name: "" takes the first that is built in.
std::shared_ptr<const Voice> open_voice(const std::filesystem::path& bundle, const std::string& backend_name,
                                        const BackendOptions& options);

}  // namespace tacoglow
