// TorchScript modules through LibTorch, on the CPU. Modules are shared by all threads: they hold constants only.

#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/version.h>

#include <cstring>
#include <map>
#include <utility>

#include "backend.hpp"
#include "error.hpp"
#include "host_steps.hpp"

namespace tacoglow {
namespace {

using Modules = std::map<std::string, torch::jit::Module>;

torch::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return torch::kFloat32;
    case DType::int32:
      return torch::kInt32;
    case DType::boolean:
      break;
  }
  return torch::kBool;
}

// A tensor over the same memory, which the graph reads only.
torch::Tensor shared(const Tensor& tensor) {
  return torch::from_blob(const_cast<void*>(tensor.data()), tensor.shape(), scalar_type(tensor.dtype()));
}

std::vector<torch::Tensor> as_list(const torch::jit::IValue& result) {
  if (result.isTensor()) return {result.toTensor()};
  std::vector<torch::Tensor> tensors;
  for (const auto& element : result.toTupleRef().elements()) tensors.push_back(element.toTensor());
  return tensors;
}

Tensor copied(const std::string& graph, const TensorSpec& spec, const Dims& dims, const torch::Tensor& result) {
  Tensor tensor(spec.dtype, spec.resolve(dims));
  if (result.scalar_type() != scalar_type(spec.dtype) || result.sizes().vec() != tensor.shape())
    throw backend_error(graph + ": " + spec.name + " should be " + to_string(tensor.shape()) + ", the module gives " +
                        to_string(result.sizes().vec()) + "; run export-torchscript again");
  std::memcpy(tensor.data(), result.contiguous().data_ptr(), tensor.size_bytes());
  return tensor;
}

class TorchScriptInstance : public BackendInstance {
 public:
  TorchScriptInstance(Modules& modules, const Manifest& manifest) : modules_(modules), manifest_(manifest) {}

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    const Dims dims = check_inputs(graph, manifest_, inputs);
    const GraphSpec& spec = manifest_.graphs.at(graph);
    std::vector<torch::jit::IValue> arguments;
    for (const auto& tensor : spec.inputs) arguments.emplace_back(shared(inputs.at(tensor.name)));
    const auto results = forward(graph, std::move(arguments));
    if (results.size() != spec.outputs.size())
      throw backend_error(graph + ": the module gives " + std::to_string(results.size()) +
                          " outputs, the manifest says " + std::to_string(spec.outputs.size()) +
                          "; run export-torchscript again");
    Tensors outputs;
    for (std::size_t i = 0; i < results.size(); ++i)
      outputs[spec.outputs[i].name] = copied(graph, spec.outputs[i], dims, results[i]);
    return outputs;
  }

  std::unique_ptr<DecoderSteps> start(Tensors encoded) override {
    return std::make_unique<HostSteps>(*this, manifest_, std::move(encoded));
  }

 private:
  std::vector<torch::Tensor> forward(const std::string& graph, std::vector<torch::jit::IValue> arguments) {
    const c10::InferenceMode inference;
    // Without the executor's optimiser, which compiles anew for every shape that a run brings.
    const torch::jit::GraphOptimizerEnabledGuard plain(false);
    try {
      return as_list(modules_.at(graph).forward(std::move(arguments)));
    } catch (const std::exception& error) {
      throw backend_error(graph + ": LibTorch cannot run it: " + error.what());
    }
  }

  Modules& modules_;
  const Manifest& manifest_;
};

class TorchScriptBackend : public Backend {
 public:
  TorchScriptBackend(Modules modules, Manifest manifest)
      : modules_(std::move(modules)), manifest_(std::move(manifest)) {}

  std::unique_ptr<BackendInstance> create_instance() override {
    return std::make_unique<TorchScriptInstance>(modules_, manifest_);
  }

 private:
  Modules modules_;
  Manifest manifest_;
};

torch::jit::Module load(const std::filesystem::path& path) {
  try {
    torch::jit::Module module = torch::jit::load(path.string(), torch::kCPU);
    module.eval();
    return module;
  } catch (const std::exception& error) {
    throw backend_error(path.string() + ": LibTorch " TORCH_VERSION " cannot load it: " + error.what());
  }
}

}  // namespace

std::unique_ptr<Backend> open_torchscript(const std::filesystem::path& bundle, const Manifest& manifest,
                                          const BackendOptions& options) {
  if (manifest.torchscript.empty())
    throw bundle_error(bundle.string() + ": holds no TorchScript modules; add them with: tacoglow export-torchscript " +
                       bundle.string());
  if (options.threads < 0) throw request_error("threads: expected 0 or more, got " + std::to_string(options.threads));
  if (options.threads > 0) at::set_num_threads(options.threads);
  Modules modules;
  for (const auto& [name, file] : manifest.torchscript) modules.emplace(name, load(graph_path(bundle, file)));
  return std::make_unique<TorchScriptBackend>(std::move(modules), manifest);
}

}  // namespace tacoglow
