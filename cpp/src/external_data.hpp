// Graphs that refer to data in other files, which are not part of a bundle.
#pragma once

#include <filesystem>

#include "manifest.hpp"

namespace tacoglow {

// True if an ONNX file refers to data in other files; a node or tensor named exactly "location" may also count. Throws
// Error (bundle) if the file cannot be read.
bool has_external_data(const std::filesystem::path& path);

// As graph_path, for an ONNX graph. Throws Error (bundle) also if it refers to data in other files, because the SHA-256
// does not cover those.
std::filesystem::path onnx_path(const std::filesystem::path& bundle, const GraphFile& graph);

}  // namespace tacoglow
