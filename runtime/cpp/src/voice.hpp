// A bundle, opened.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "engine.hpp"
#include "tacoglow.h"
#include "text.hpp"

namespace tacoglow {

// Safe for use from several threads.
struct Voice {
  Voice(Manifest read, std::unique_ptr<Engine> opened, std::string engine_chosen);

  Manifest manifest;
  TextTable text;
  std::unique_ptr<Engine> engine;
  std::string engine_name;
  tacoglow_facts facts;  // points into manifest and engine_name
};

// Throws Error (bundle, engine). engine_name: "" takes the first that is built in.
std::shared_ptr<const Voice> open_voice(const std::filesystem::path& bundle, const std::string& engine_name,
                                        const EngineOptions& options);

}  // namespace tacoglow
