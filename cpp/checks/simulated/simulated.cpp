// Simulates CUDA and TensorRT on the host. Work runs as late as their documentation allows: only when it is waited on.
// Anything whose outcome the documentation leaves undefined aborts the program. A plan contains the name of a graph,
// which the fake backend computes.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>

#include "NvInferRuntime.h"
#include "fake_backend.hpp"
#include "work.hpp"

namespace {

constexpr std::size_t alignment = 256;

using simulated::require_device;
using Work = std::function<void()>;

struct Allocation {
  std::size_t bytes;
  bool is_device;
};

std::recursive_mutex mutex;
std::map<const char*, Allocation> allocations;
thread_local int current_device = -1;

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "simulated GPU: %s\n", what.c_str());
  std::abort();
}

// Returns the allocation that contains these bytes, or nullptr for ordinary host memory.
const Allocation* allocation_of(const void* memory, std::size_t bytes) {
  const auto* begin = static_cast<const char*>(memory);
  auto next = allocations.upper_bound(begin);
  if (next == allocations.begin()) return nullptr;
  const auto& [start, allocation] = *std::prev(next);
  if (begin >= start + allocation.bytes) return nullptr;
  require(begin + bytes <= start + allocation.bytes, "a copy or a tensor exceeds its allocation");
  return &allocation;
}

cudaError_t allocate(void** memory, std::size_t bytes, bool is_device) {
  const std::lock_guard lock(mutex);
  if (current_device != 0) return cudaErrorNoDevice;
  *memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  std::memset(*memory, 0xFF, bytes);  // NaN as float32
  allocations[static_cast<char*>(*memory)] = {bytes, is_device};
  return cudaSuccess;
}

}  // namespace

struct SimulatedStream {
  std::deque<Work> pending;
  std::size_t n_done = 0;
  SimulatedGraph* captured = nullptr;

  void run_up_to(std::size_t position);
};

struct SimulatedEvent {
  SimulatedStream* stream = nullptr;
  std::size_t position = 0;
};

struct SimulatedGraph {
  std::vector<Work> work;
};

struct SimulatedGraphExec {
  std::vector<Work> work;
};

namespace {

std::vector<SimulatedStream*> streams;

bool capture_fails_at(const std::string& call) { return simulated::tensorrt().capture_fails_at == call; }

cudaError_t put(SimulatedStream* stream, Work work) {
  if (current_device != 0) return cudaErrorNoDevice;
  if (stream->captured != nullptr)
    stream->captured->work.push_back(std::move(work));
  else
    stream->pending.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t release(void* memory, bool is_device) {
  const std::lock_guard lock(mutex);
  for (auto* stream : streams)
    stream->run_up_to(stream->n_done + stream->pending.size());  // cudaFree waits for all work
  const auto found = allocations.find(static_cast<char*>(memory));
  require(found != allocations.end() && found->second.is_device == is_device,
          "memory is freed twice, or with the wrong function");
  allocations.erase(found);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace

void simulated::require_device(const void* memory, std::size_t bytes) {
  const Allocation* allocation = allocation_of(memory, bytes);
  require(allocation != nullptr && allocation->is_device,
          "an address is not in device memory, or its memory was freed");
}

void simulated::enqueue(cudaStream_t stream, Work work) {
  const std::lock_guard lock(mutex);
  require(put(stream, std::move(work)) == cudaSuccess, "a launch without a current GPU");
}

void SimulatedStream::run_up_to(std::size_t position) {
  while (n_done < position) {
    const Work work = std::move(pending.front());
    pending.pop_front();
    ++n_done;
    work();
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  constexpr const char* names[] = {"success", "invalid value", "not permitted during a stream capture", "no device"};
  return names[error];
}

cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaSetDevice(int device) {
  current_device = device;
  return device == 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) { return allocate(memory, bytes, true); }
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) { return allocate(memory, bytes, false); }
cudaError_t cudaFree(void* memory) { return release(memory, true); }
cudaError_t cudaFreeHost(void* memory) { return release(memory, false); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  const std::size_t to_bytes = to_pitch * (height - 1) + width, from_bytes = from_pitch * (height - 1) + width;
  if (kind == cudaMemcpyDeviceToDevice)
    return put(stream, [=] {
      require_device(to, to_bytes);
      require_device(from, from_bytes);
      for (std::size_t row = 0; row < height; ++row)
        std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
    });
  const bool goes_in = kind == cudaMemcpyHostToDevice;
  const bool is_pinned = allocation_of(goes_in ? from : to, goes_in ? from_bytes : to_bytes) != nullptr;
  if (stream->captured != nullptr && !is_pinned) return cudaErrorStreamCaptureUnsupported;
  std::shared_ptr<std::vector<char>> copy;  // pageable memory is read before the call returns
  if (goes_in && !is_pinned)
    copy = std::make_shared<std::vector<char>>(static_cast<const char*>(from),
                                               static_cast<const char*>(from) + from_bytes);
  return put(stream, [=] {
    require_device(goes_in ? to : from, goes_in ? to_bytes : from_bytes);
    require(!is_pinned || allocation_of(goes_in ? from : to, goes_in ? from_bytes : to_bytes) != nullptr,
            "pinned memory was freed before its copy");
    const char* source = copy ? copy->data() : static_cast<const char*>(from);
    for (std::size_t row = 0; row < height; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch, source + row * from_pitch, width);
  });
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  return put(stream, [=] {
    require_device(memory, bytes);
    std::memset(memory, value, bytes);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard lock(mutex);
  if (current_device != 0) return cudaErrorNoDevice;
  streams.push_back(*stream = new SimulatedStream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  stream->run_up_to(stream->n_done + stream->pending.size());
  streams.erase(std::find(streams.begin(), streams.end(), stream));
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  if (stream->captured != nullptr) return cudaErrorStreamCaptureUnsupported;
  stream->run_up_to(stream->n_done + stream->pending.size());
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const std::lock_guard lock(mutex);
  stream->captured = new SimulatedGraph;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(mutex);
  *graph = std::exchange(stream->captured, nullptr);
  if (!capture_fails_at("end")) return cudaSuccess;
  delete std::exchange(*graph, nullptr);
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new SimulatedEvent;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  *event = {stream, stream->n_done + stream->pending.size()};
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  event->stream->run_up_to(event->position);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (capture_fails_at("instantiate")) return cudaErrorStreamCaptureUnsupported;
  *executable = new SimulatedGraphExec{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  ++simulated::tensorrt().n_graph_launches;
  for (const auto& work : executable->work)
    if (put(stream, work) != cudaSuccess) return cudaErrorNoDevice;
  return cudaSuccess;
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
  if (profile == 1 && graph == "decoder_step") sizes['B'] = 1;
  if (profile == 1 && graph == "encoder") sizes['T'] = manifest.synthesis.smallest_token_bucket;
  const auto shape = spec_of(graph).tensor(tensor).resolve(sizes);
  Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), dims.d);
  return dims;
}

IExecutionContext* ICudaEngine::createExecutionContext() noexcept {
  const std::lock_guard lock(mutex);
  const bool shares_profiles = simulated::tensorrt().version >= 8600;
  const bool has_profile = shares_profiles || !has_profile_in_use_;
  has_profile_in_use_ = true;
  return new IExecutionContext(*this, has_profile);
}

IExecutionContext::IExecutionContext(const ICudaEngine& engine, bool has_profile)
    : engine_(engine), has_profile_(has_profile), host_(std::make_shared<Host>()) {
  host_->backend = tacoglow::open_fake_backend(*simulated::tensorrt().manifest, 1, 1);
  host_->instance = host_->backend->create_instance();
}

bool IExecutionContext::setOptimizationProfileAsync(std::int32_t profile, cudaStream_t) noexcept {
  const std::lock_guard lock(mutex);
  profile_ = profile;
  shapes_.clear();
  is_prepared_ = false;
  ++*n_shapes_set_;
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
  ++*n_shapes_set_;
  return true;
}

bool IExecutionContext::setTensorAddress(const char* tensor, void* address) noexcept {
  require(reinterpret_cast<std::uintptr_t>(address) % alignment == 0,
          std::string(tensor) + ": its address is not aligned");
  addresses_[tensor] = address;
  return true;
}

bool IExecutionContext::enqueueV3(cudaStream_t stream) noexcept {
  const std::lock_guard lock(mutex);
  const bool is_captured = stream->captured != nullptr;
  if (is_captured && capture_fails_at("enqueue")) {
    engine_.log.log(ILogger::Severity::kERROR, "a layer cannot be captured");
    return false;
  }
  require(!is_captured || is_prepared_,
          "the first run after a shape change is deferred work, which must not be captured");
  is_prepared_ = true;
  simulated::tensorrt().profiles.emplace(engine_.graph, profile_);
  const auto work = [graph = engine_.graph, shapes = shapes_, addresses = addresses_, host = host_, is_captured,
                     seen = *n_shapes_set_, now = n_shapes_set_] {
    require(!is_captured || seen == *now, "the shapes of a captured graph's context have changed");
    tacoglow::Tensors inputs;
    for (const auto& input : spec_of(graph).inputs) {
      auto& tensor = inputs[input.name] = tacoglow::Tensor(input.dtype, shapes.at(input.name));
      require_device(addresses.at(input.name), tensor.size_bytes());
      std::memcpy(tensor.data(), addresses.at(input.name), tensor.size_bytes());
    }
    for (const auto& [name, output] : host->instance->run(graph, inputs)) {
      require_device(addresses.at(name), output.size_bytes());
      std::memcpy(addresses.at(name), output.data(), output.size_bytes());
    }
  };
  return put(stream, work) == cudaSuccess;
}

}  // namespace nvinfer1
