// Simulates TensorRT on the pretended driver. Anything whose outcome TensorRT's documentation leaves undefined aborts
// the program, or is a fault of the driver, which it reports from then on. A plan contains the name of a graph, which
// the fake backend computes.

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <stdexcept>

#include "NvInferRuntime.h"
#include "fake_backend.hpp"

namespace {

constexpr std::size_t alignment = 256;
constexpr int launch_failed = 719;  // a status of the driver

std::recursive_mutex mutex;
std::deque<std::function<void()>> all_work;  // that was enqueued: a CUDA graph may run it again

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "simulated TensorRT: %s\n", what.c_str());
  std::abort();
}

// Work may run in any thread that waits, with the driver's lock held, so that it cannot wait for the one above.
void count_run(const std::string& graph) {
  static std::mutex counting;
  const std::lock_guard lock(counting);
  ++simulated::tensorrt().n_runs[graph];
}

bool is_allocated(const void* memory, std::size_t bytes) {
  return simulated::call_driver<bool>("pretend_is_allocated", memory, bytes);
}

// Fails on the GPU, while work is running there.
void require_on_gpu(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

void run_work(void* work) {
  try {
    (*static_cast<std::function<void()>*>(work))();
  } catch (const std::exception& error) {
    simulated::call_driver<void>("pretend_fault", launch_failed, error.what());
  }
}

bool enqueue(cudaStream_t stream, std::function<void()> work) {
  all_work.push_back(std::move(work));
  return simulated::call_driver<int>("cuLaunchHostFunc", stream, &run_work, static_cast<void*>(&all_work.back())) == 0;
}

}  // namespace

void* simulated::find_in_driver(const char* name) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW);
  require(library != nullptr, "the pretended driver's folder is not in LD_LIBRARY_PATH");
  void* const function = dlsym(library, name);
  require(function != nullptr, std::string("the pretended driver has no ") + name);
  return function;
}

std::int32_t getInferLibVersion() noexcept { return simulated::tensorrt().version; }

simulated::TensorRT& simulated::tensorrt() {
  static TensorRT only;
  return only;
}

namespace nvinfer1 {

namespace {

const tacoglow::GraphSpec& spec_of(const std::string& graph) {
  return simulated::tensorrt().manifest->graphs.at(graph);
}

}  // namespace

IRuntime* createInferRuntime(ILogger& log) noexcept { return new IRuntime(log); }

ICudaEngine* IRuntime::deserializeCudaEngine(const void* plan, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex);
  const std::string graph(static_cast<const char*>(plan), bytes);
  if (simulated::tensorrt().manifest->graphs.count(graph) == 0) {
    log_.log(ILogger::Severity::kERROR, "the plan was built elsewhere");
    return nullptr;
  }
  ++simulated::tensorrt().n_engines;
  return new ICudaEngine(log_, graph);
}

TensorIOMode ICudaEngine::getTensorIOMode(const char* tensor) const noexcept {
  for (const auto& input : spec_of(graph).inputs)
    if (input.name == tensor) return TensorIOMode::kINPUT;
  for (const auto& output : spec_of(graph).outputs)
    if (output.name == tensor) return TensorIOMode::kOUTPUT;
  return TensorIOMode::kNONE;
}

DataType ICudaEngine::getTensorDataType(const char* tensor) const noexcept {
  const auto dtype = spec_of(graph).tensor(tensor).dtype;
  if (dtype == tacoglow::DType::float32) return DataType::kFLOAT;
  return dtype == tacoglow::DType::int32 ? DataType::kINT32 : DataType::kBOOL;
}

std::int32_t ICudaEngine::getNbIOTensors() const noexcept {
  return static_cast<std::int32_t>(spec_of(graph).inputs.size() + spec_of(graph).outputs.size());
}

// The whole range; batch 1 by itself for decoder_step, and the smallest token bucket by itself for the encoder.
std::int32_t ICudaEngine::getNbOptimizationProfiles() const noexcept {
  return graph == "decoder_step" || graph == "encoder" ? 2 : 1;
}

Dims ICudaEngine::getProfileShape(const char* tensor, std::int32_t profile, OptProfileSelector select) const noexcept {
  const auto& manifest = *simulated::tensorrt().manifest;
  tacoglow::Dims sizes;
  for (const auto& [letter, range] : manifest.dimensions)
    sizes[letter] = select == OptProfileSelector::kMIN ? range.min : range.max;
  if (simulated::tensorrt().max_batch > 0) sizes['B'] = std::min(sizes['B'], simulated::tensorrt().max_batch);
  if (profile == 1 && graph == "decoder_step") sizes['B'] = 1;
  if (profile == 1 && graph == "encoder") sizes['T'] = manifest.synthesis.smallest_token_bucket;
  const auto shape = spec_of(graph).tensor(tensor).resolve(sizes);
  Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), dims.d);
  return dims;
}

IExecutionContext* ICudaEngine::createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
  require(strategy == ExecutionContextAllocationStrategy::kUSER_MANAGED, graph + ": another kind of activation memory");
  const std::lock_guard lock(mutex);
  const bool shares_profiles = simulated::tensorrt().version >= 8600;
  const bool has_profile = shares_profiles || !has_profile_in_use_;
  has_profile_in_use_ = true;
  return new IExecutionContext(*this, has_profile);
}

IExecutionContext::IExecutionContext(const ICudaEngine& engine, bool has_profile)
    : engine_(engine), has_profile_(has_profile) {
  host_->backend = tacoglow::open_fake_backend(*simulated::tensorrt().manifest, 1, 1);
  host_->instance = host_->backend->create_instance();
}

IExecutionContext::~IExecutionContext() { host_->is_alive = false; }

bool IExecutionContext::setOptimizationProfileAsync(std::int32_t profile, cudaStream_t) noexcept {
  const std::lock_guard lock(mutex);
  profile_ = profile;
  shapes_.clear();
  is_prepared_ = false;
  ++host_->n_shapes_set;
  return true;
}

bool IExecutionContext::setInputShape(const char* tensor, const Dims& dims) noexcept {
  const std::lock_guard lock(mutex);
  if (!has_profile_) {
    engine_.log.log(ILogger::Severity::kERROR, "the profile is in use by another execution context");
    return false;
  }
  const auto least = engine_.getProfileShape(tensor, profile_, OptProfileSelector::kMIN);
  const auto most = engine_.getProfileShape(tensor, profile_, OptProfileSelector::kMAX);
  for (std::int32_t i = 0; i < dims.nbDims; ++i)
    require(least.d[i] <= dims.d[i] && dims.d[i] <= most.d[i], std::string(tensor) + ": a shape outside the profile");
  shapes_[tensor].assign(dims.d, dims.d + dims.nbDims);
  is_prepared_ = false;
  ++host_->n_shapes_set;
  return true;
}

void IExecutionContext::setDeviceMemoryV2(void* memory, std::int64_t bytes) noexcept {
  require(bytes >= engine_.getDeviceMemorySizeV2(), engine_.graph + ": too little activation memory");
  activations_ = memory;
}

bool IExecutionContext::setTensorAddress(const char* tensor, void* address) noexcept {
  require(reinterpret_cast<std::uintptr_t>(address) % alignment == 0,
          std::string(tensor) + ": its address is not aligned");
  addresses_[tensor] = address;
  return true;
}

bool IExecutionContext::enqueueV3(cudaStream_t stream) noexcept {
  const std::lock_guard lock(mutex);
  int capture_status = 0;
  simulated::call_driver<int>("cuStreamIsCapturing", stream, &capture_status);
  const bool is_captured = capture_status != 0;
  if (is_captured && simulated::tensorrt().refuses_captures) {
    engine_.log.log(ILogger::Severity::kERROR, "a layer cannot be captured");
    return false;
  }
  require(!is_captured || is_prepared_,
          "the first run after a shape change is deferred work, which must not be captured");
  is_prepared_ = true;
  if (!is_captured) ++simulated::tensorrt().n_enqueued;
  simulated::tensorrt().profiles.emplace(engine_.graph, profile_);
  const auto work = [graph = engine_.graph, shapes = shapes_, addresses = addresses_, host = host_, is_captured,
                     n_shapes_set = host_->n_shapes_set, activations = activations_,
                     activation_bytes = static_cast<std::size_t>(engine_.getDeviceMemorySizeV2())] {
    require_on_gpu(is_allocated(activations, activation_bytes), graph + ": its activation memory is not allocated");
    require_on_gpu(host->is_alive, graph + ": the execution context of this work is destroyed");
    require_on_gpu(!is_captured || n_shapes_set == host->n_shapes_set,
                   graph + ": the shapes of a captured graph's execution context have changed");
    tacoglow::Tensors inputs;
    for (const auto& input : spec_of(graph).inputs) {
      auto& tensor = inputs[input.name] = tacoglow::Tensor(input.dtype, shapes.at(input.name));
      require_on_gpu(is_allocated(addresses.at(input.name), tensor.size_bytes()), input.name + ": not allocated");
      std::memcpy(tensor.data(), addresses.at(input.name), tensor.size_bytes());
    }
    count_run(graph);
    for (auto& [name, output] : host->instance->run(graph, inputs)) {
      if (simulated::tensorrt().rounds_by_batch && name == "mel_frame" && output.shape()[0] == 4)
        *output.as<float>() = std::nextafter(*output.as<float>(), 2.0F);
      require_on_gpu(is_allocated(addresses.at(name), output.size_bytes()), name + ": not allocated");
      std::memcpy(addresses.at(name), output.data(), output.size_bytes());
    }
  };
  return enqueue(stream, work);
}

}  // namespace nvinfer1
