// Runs plans of TensorRT 8.5 to 11 on one GPU. Threads share the plans; each instance has its own execution contexts.

#include <utility>

#include "backend.hpp"
#include "error.hpp"
#include "fused_steps.hpp"
#include "host_steps.hpp"
#include "tensorrt_steps.hpp"

namespace tacoglow {
namespace {

class TensorRTBackend : public Backend {
 public:
  TensorRTBackend(const std::filesystem::path& plans, Manifest manifest, int device)
      : manifest_(std::move(manifest)), gpu_(device) {
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    if (!runtime_) throw backend_error("cannot create a TensorRT runtime: " + RecordingLogger::last_error());
    for (const auto& [name, spec] : manifest_.graphs)
      plans_.try_emplace(name, *runtime_, plans / (name + ".plan"), name, spec);
    if (std::filesystem::exists(plans / "fused")) open_fused(plans / "fused");
  }

  ~TensorRTBackend() override { gpu_.make_current_to_release(); }

  std::unique_ptr<BackendInstance> create_instance() override;
  std::string decoder() const override { return decoder_; }

  const FusedDecoder* fused() const { return fused_.get(); }  // nullptr: the engine decodes
  const Manifest& manifest() const { return manifest_; }
  const Plan& plan(const std::string& graph) const { return plans_.at(graph); }
  const Gpu& gpu() const { return gpu_; }

 private:
  void open_fused(const std::filesystem::path& folder) {
    try {
      FusedPackage package = load_fused_package(folder, manifest_);
      decoder_ = package.decoder;
      fused_ = std::make_unique<const FusedDecoder>(std::move(package), gpu_);
    } catch (const Error& error) {
      decoder_ = std::string("engine: ") + error.what();
    }
  }

  Manifest manifest_;
  Gpu gpu_;
  RecordingLogger logger_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::map<std::string, Plan> plans_;
  std::unique_ptr<const FusedDecoder> fused_;
  std::string decoder_ = "engine: there is no fused decoder beside the plans";
};

class TensorRTInstance : public BackendInstance {
 public:
  explicit TensorRTInstance(TensorRTBackend& backend) : backend_(backend) {
    backend.gpu().make_current();
    stream_ = make_stream();
    for (const auto& [name, spec] : backend.manifest().graphs)
      if (name != "decoder_step") runners_.try_emplace(name, backend.plan(name));
  }

  ~TensorRTInstance() override {
    backend_.gpu().make_current_to_release();
    cuda_driver().cuStreamSynchronize(stream_.get());  // an abandoned utterance may still be running
  }

  bool pads_token_ids() const override { return true; }

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    const Dims dims = check_inputs(graph, backend_.manifest(), inputs);
    backend_.gpu().make_current();  // the session may have moved to a different thread
    return runners_.at(graph).run(inputs, dims, stream_.get());
  }

  std::unique_ptr<DecoderSteps> start(DecoderInput input) override {
    backend_.gpu().make_current();
    const Shape& memory = input.encoded.at("memory").shape();
    const Dims dims = {{'B', memory[0]}, {'T', memory[1]}};
    if (input.has_window()) return start_with_window(std::move(input), dims);
    if (const FusedDecoder* fused = backend_.fused(); fused != nullptr) {
      auto& groups = fused_[dims];
      if (groups.empty()) groups = make_groups(*fused, backend_.manifest(), dims, stream_.get());
      return std::make_unique<FusedSteps>(groups, input);
    }
    auto& steps = captured_[dims];
    if (!steps)
      steps = std::make_unique<CapturedSteps>(backend_.plan("decoder_step"), backend_.manifest(), dims, stream_.get());
    return std::make_unique<TensorRTSteps>(*steps, backend_.manifest(), std::move(input));
  }

 private:
  std::unique_ptr<DecoderSteps> start_with_window(DecoderInput input, const Dims& dims) {
    HostGraphRunner& runner = runners_.try_emplace("decoder_step", backend_.plan("decoder_step")).first->second;
    const auto bind = [&](const ConstTensorRefs& inputs, const TensorRefs& outputs) {
      return [=, &runner] { runner.run(inputs, outputs, dims, stream_.get()); };
    };
    return std::make_unique<HostSteps>(bind, backend_.manifest(), std::move(input));
  }

  TensorRTBackend& backend_;
  CudaStream stream_;
  std::map<std::string, HostGraphRunner> runners_;
  std::map<Dims, std::unique_ptr<CapturedSteps>> captured_;  // by batch size and token bucket
  std::map<Dims, FusedGroups> fused_;                        // likewise, if the fused decoder runs
};

std::unique_ptr<BackendInstance> TensorRTBackend::create_instance() {
  return std::make_unique<TensorRTInstance>(*this);
}

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const BundleFiles&, const Manifest& manifest, const BackendOptions& options) {
  return std::make_unique<TensorRTBackend>(options.plans, manifest, options.device);
}

}  // namespace tacoglow
