#include "onnxruntime_tensors.hpp"

#include <map>
#include <utility>
#include <vector>

#include "onnxruntime_api.hpp"

namespace tacoglow::onnxruntime {
namespace {

constexpr const char* what = "read a graph's tensors";

using Descriptions = std::map<std::string, std::string>;  // by the tensor's name

std::string name_of(int element_type) {
  if (element_type == element_float) return "float32";
  if (element_type == element_int32) return "int32";
  return element_type == element_bool ? "bool" : "type " + std::to_string(element_type);
}

std::string describe(const std::string& type, const std::vector<std::string>& shape) {
  std::string text;
  for (const auto& entry : shape) text += (text.empty() ? "" : ", ") + entry;
  return type + " [" + text + "]";
}

std::string describe(const TypeInfo* type) {
  const TensorInfo* info = nullptr;
  check<Function::type_to_tensor_info>(what, type, &info);
  if (info == nullptr) return "not a tensor";
  int element = 0;
  std::size_t rank = 0;
  check<Function::tensor_element_type>(what, info, &element);
  check<Function::tensor_dimension_count>(what, info, &rank);
  std::vector<std::int64_t> sizes(rank);
  std::vector<const char*> names(rank);
  check<Function::tensor_dimensions>(what, info, sizes.data(), rank);
  check<Function::tensor_dimension_names>(what, info, names.data(), rank);
  std::vector<std::string> shape;
  for (std::size_t i = 0; i < rank; ++i) shape.push_back(sizes[i] >= 0 ? std::to_string(sizes[i]) : names[i]);
  return describe(name_of(element), shape);
}

std::string take_name(Allocator* allocator, char* owned) {
  std::string name = owned;
  check<Function::allocator_free>(what, allocator, static_cast<void*>(owned));
  return name;
}

template <Function count, Function name, Function type>
Descriptions read_side(const Session* session) {
  Allocator* allocator = nullptr;
  check<Function::default_allocator>(what, &allocator);
  std::size_t size = 0;
  check<count>(what, session, &size);
  Descriptions found;
  for (std::size_t i = 0; i < size; ++i) {
    char* own_name = nullptr;
    check<name>(what, session, i, allocator, &own_name);
    const std::string own = take_name(allocator, own_name);
    TypeInfo* info = nullptr;
    check<type>(what, session, i, &info);
    const OwnedTypeInfo owned(info);
    found[own] = describe(info);
  }
  return found;
}

void compare(const std::string& graph, const std::string& side, const std::vector<TensorSpec>& specs,
             const Descriptions& found) {
  Descriptions stated;
  for (const auto& spec : specs) {
    std::vector<std::string> shape;
    for (const auto& entry : spec.shape) shape.push_back(entry.text());
    stated[spec.name] = describe(name_of(element_type(spec.dtype)), shape);
  }
  const auto in = [](const Descriptions& side_of, const std::string& name) {
    const auto own = side_of.find(name);
    return own == side_of.end() ? "absent" : own->second;
  };
  for (const Descriptions* names : {&std::as_const(stated), &found})
    for (const auto& [name, _] : *names)
      if (in(stated, name) != in(found, name))
        throw bundle_error(graph + ": " + side + " " + name + " is " + in(stated, name) + " in the manifest, " +
                           in(found, name) + " in the graph; export the voice again");
}

}  // namespace

int element_type(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return element_float;
    case DType::int32:
      return element_int32;
    case DType::boolean:
      break;
  }
  return element_bool;
}

void check_tensors(const std::string& graph, const GraphSpec& spec, const Session* session) {
  using F = Function;
  compare(graph, "input", spec.inputs,
          read_side<F::session_input_count, F::session_input_name, F::session_input_type>(session));
  compare(graph, "output", spec.outputs,
          read_side<F::session_output_count, F::session_output_name, F::session_output_type>(session));
}

}  // namespace tacoglow::onnxruntime
