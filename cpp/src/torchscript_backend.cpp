// Runs TorchScript modules with LibTorch on the CPU. Threads share the modules, which contain only constants.

#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/version.h>

#include <cstring>
#include <map>
#include <sstream>
#include <utility>

#include "backend.hpp"
#include "bundle_files.hpp"
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

// Returns a tensor that shares the memory; the graph only reads it.
torch::Tensor share_memory(const Tensor& tensor) {
  return torch::from_blob(const_cast<void*>(tensor.data()), tensor.shape(), scalar_type(tensor.dtype()));
}

std::vector<torch::Tensor> as_list(const torch::jit::IValue& result) {
  if (result.isTensor()) return {result.toTensor()};
  std::vector<torch::Tensor> tensors;
  for (const auto& element : result.toTupleRef().elements()) tensors.push_back(element.toTensor());
  return tensors;
}

void copy_output(const std::string& graph, const TensorSpec& spec, const torch::Tensor& result, Tensor& tensor) {
  if (result.scalar_type() != scalar_type(spec.dtype) || result.sizes().vec() != tensor.shape())
    throw backend_error(graph + ": " + spec.name + ": expected " + torch::toString(scalar_type(spec.dtype)) + " " +
                        to_string(tensor.shape()) + ", got " + torch::toString(result.scalar_type()) + " " +
                        to_string(result.sizes().vec()) + "; run export-torchscript again");
  std::memcpy(tensor.data(), result.contiguous().data_ptr(), tensor.size_bytes());
}

class TorchScriptInstance : public BackendInstance {
 public:
  TorchScriptInstance(Modules& modules, const Manifest& manifest) : modules_(modules), manifest_(manifest) {}

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    const Dims dims = check_inputs(graph, manifest_, inputs);
    const GraphSpec& spec = manifest_.graphs.at(graph);
    Tensors outputs;
    for (const auto& tensor : spec.outputs) outputs[tensor.name] = Tensor(tensor.dtype, tensor.resolve(dims));
    run(graph, refer_to(inputs), refer_to(outputs));
    return outputs;
  }

  std::unique_ptr<HostSteps> start_on_host(DecoderInput input) override {
    const auto bind = [this](const ConstTensorRefs& inputs, const TensorRefs& outputs) {
      return [=] { run("decoder_step", inputs, outputs); };
    };
    return std::make_unique<HostSteps>(bind, manifest_, std::move(input));
  }

 private:
  void run(const std::string& graph, const ConstTensorRefs& inputs, const TensorRefs& outputs) {
    const GraphSpec& spec = manifest_.graphs.at(graph);
    std::vector<torch::jit::IValue> arguments;
    for (const auto& tensor : spec.inputs) arguments.emplace_back(share_memory(*inputs.at(tensor.name)));
    const auto results = forward(graph, std::move(arguments));
    if (results.size() != spec.outputs.size())
      throw backend_error(graph + ": expected " + std::to_string(spec.outputs.size()) + " outputs (manifest), got " +
                          std::to_string(results.size()) + "; run export-torchscript again");
    for (std::size_t i = 0; i < results.size(); ++i)
      copy_output(graph, spec.outputs[i], results[i], *outputs.at(spec.outputs[i].name));
  }

  std::vector<torch::Tensor> forward(const std::string& graph, std::vector<torch::jit::IValue> arguments) {
    const c10::InferenceMode inference;
    // Without the executor's optimizer, which compiles again for every new shape.
    const torch::jit::GraphOptimizerEnabledGuard plain(false);
    try {
      return as_list(modules_.at(graph).forward(std::move(arguments)));
    } catch (const std::exception& error) {
      throw backend_error(graph + ": LibTorch cannot run this module: " + error.what());
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

torch::jit::Module load(const BundleFiles& files, const GraphFile& file) {
  std::istringstream content(read_checked(files, file));
  try {
    torch::jit::Module module = torch::jit::load(content, torch::kCPU);
    module.eval();
    return module;
  } catch (const std::exception& error) {
    throw backend_error(files.name_of(file.file) +
                        ": LibTorch " TORCH_VERSION " cannot load this module: " + error.what());
  }
}

}  // namespace

std::unique_ptr<Backend> open_torchscript(const BundleFiles& files, const Manifest& manifest,
                                          const BackendOptions& options) {
  if (manifest.torchscript.empty())
    throw bundle_error(files.name() + ": contains no TorchScript modules; add them with: tacoglow export-torchscript " +
                       files.name());
  if (options.threads < 0) throw request_error("threads: expected 0 or more, got " + std::to_string(options.threads));
  if (options.threads > 0) at::set_num_threads(options.threads);
  Modules modules;
  for (const auto& [name, file] : manifest.torchscript) modules.emplace(name, load(files, file));
  return std::make_unique<TorchScriptBackend>(std::move(modules), manifest);
}

}  // namespace tacoglow
