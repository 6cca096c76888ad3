// Compares a graph that ONNX Runtime has loaded with the manifest.
#pragma once

#include <string>

#include "manifest.hpp"
#include "onnxruntime_abi.hpp"

namespace tacoglow::onnxruntime {

// Returns ONNX Runtime's number of an element type.
int element_type(DType dtype);

// Throws Error (bundle) that names the tensor unless the graph has the inputs and outputs in the manifest, with their
// dtypes and shapes.
void check_tensors(const std::string& graph, const GraphSpec& spec, const Session* session);

}  // namespace tacoglow::onnxruntime
