// Finds what a voice's ONNX files must not have, as Python's runtime/bundle/graph_file.py does.
#pragma once

#include <string>
#include <string_view>

#include "bundle_files.hpp"

namespace tacoglow {

// Returns the end of a sentence that begins with a graph's name and says what it must not have; nullptr for a plain
// graph. content: of its file.
const char* find_forbidden(std::string_view content);

// As read_checked, for an ONNX graph. Throws Error (bundle) also if it has what no voice's graph has.
std::string read_onnx(const BundleFiles& files, const GraphFile& graph);

}  // namespace tacoglow
