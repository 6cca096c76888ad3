// Finds what a voice's ONNX files must not have, as Python's runtime/bundle/graph_file.py does.
#pragma once

#include <filesystem>

#include "manifest.hpp"

namespace tacoglow {

// Returns the end of a sentence that begins with the file's name and says what it must not have; nullptr for a plain
// graph. Throws Error (bundle) if the file cannot be read.
const char* find_forbidden(const std::filesystem::path& path);

// As graph_path, for an ONNX graph. Throws Error (bundle) also if it has what no voice's graph has.
std::filesystem::path onnx_path(const std::filesystem::path& bundle, const GraphFile& graph);

}  // namespace tacoglow
