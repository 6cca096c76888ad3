// TensorRT plans, 8.5 to 11, on one GPU. Plans are shared by all threads; execution contexts are a thread's own.

#include <utility>

#include "engine.hpp"
#include "error.hpp"
#include "tensorrt_step.hpp"

namespace tacoglow {
namespace {

class TensorRtEngine : public Engine {
 public:
  TensorRtEngine(const std::filesystem::path& plans, Manifest manifest, int device)
      : manifest_(std::move(manifest)), device_(device) {
    check_cuda(cudaSetDevice(device), "choose the GPU");
    runtime_.reset(nvinfer1::createInferRuntime(log_));
    if (!runtime_) throw engine_error("TensorRT does not start: " + TensorRtLog::last());
    for (const auto& [name, spec] : manifest_.graphs)
      plans_.try_emplace(name, *runtime_, plans / (name + ".plan"), name, spec);
  }

  std::unique_ptr<Context> context() override;

  const Manifest& manifest() const { return manifest_; }
  const Plan& plan(const std::string& graph) const { return plans_.at(graph); }
  int device() const { return device_; }

 private:
  Manifest manifest_;
  int device_;
  TensorRtLog log_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::map<std::string, Plan> plans_;
};

class TensorRtContext : public Context {
 public:
  explicit TensorRtContext(TensorRtEngine& engine) : engine_(engine) {
    check_cuda(cudaSetDevice(engine.device()), "choose the GPU");
    stream_ = make_stream();
    for (const auto& [name, spec] : engine.manifest().graphs)
      if (name != "decoder_step") executions_.try_emplace(name, engine.plan(name));
  }

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    const Dims dims = check_inputs(graph, engine_.manifest(), inputs);
    check_cuda(cudaSetDevice(engine_.device()), "choose the GPU");  // a session may change its thread
    return executions_.at(graph).run(inputs, dims, stream_.get());
  }

  std::unique_ptr<StepLoop> start(Tensors encoded) override {
    check_cuda(cudaSetDevice(engine_.device()), "choose the GPU");
    const Shape& memory = encoded.at("memory").shape();
    const Dims dims = {{'B', memory[0]}, {'T', memory[1]}};
    auto& step = steps_[dims];
    if (!step)
      step = std::make_unique<DeviceStep>(engine_.plan("decoder_step"), engine_.manifest(), dims, stream_.get());
    return std::make_unique<DeviceStepLoop>(*step, encoded);
  }

 private:
  TensorRtEngine& engine_;
  CudaStream stream_;
  std::map<std::string, HostExecution> executions_;
  std::map<Dims, std::unique_ptr<DeviceStep>> steps_;  // by batch and tokens, of which there are a few buckets
};

std::unique_ptr<Context> TensorRtEngine::context() { return std::make_unique<TensorRtContext>(*this); }

}  // namespace

std::unique_ptr<Engine> open_tensorrt(const std::filesystem::path&, const Manifest& manifest,
                                      const EngineOptions& options) {
  return std::make_unique<TensorRtEngine>(options.plans, manifest, options.device);
}

}  // namespace tacoglow
