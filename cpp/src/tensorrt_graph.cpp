#include "tensorrt_graph.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "files.hpp"
#include "host_steps.hpp"
#include "log.hpp"

namespace tacoglow {
namespace {

// Before TensorRT 8.6, only one execution context can use an optimization profile of an engine.
bool contexts_share_a_profile() { return getInferLibVersion() >= 8600; }

constexpr const char* rebuild = "; build the plans again with: tacoglow build-engines BUNDLE --copy-to FOLDER";

thread_local std::string last_logged_error;

nvinfer1::DataType data_type(DType dtype) {
  if (dtype == DType::float32) return nvinfer1::DataType::kFLOAT;
  return dtype == DType::int32 ? nvinfer1::DataType::kINT32 : nvinfer1::DataType::kBOOL;
}

std::string read(const std::filesystem::path& path) {
  std::optional<std::string> content = read_file(path);
  if (!content) throw bundle_error(to_name(path) + ": cannot read this plan" + rebuild);
  return *std::move(content);
}

// An empty shape for dims that TensorRT does not know, of which it says that they are -1.
Shape shape_of(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max<std::int32_t>(dims.nbDims, 0)}; }

// Since TensorRT 10, whose older functions are deprecated.
std::size_t activation_bytes_of(const nvinfer1::ICudaEngine& engine) {
#if NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR > 0)
  return static_cast<std::size_t>(engine.getDeviceMemorySizeV2());
#else
  return engine.getDeviceMemorySize();
#endif
}

nvinfer1::IExecutionContext* create_context(nvinfer1::ICudaEngine& engine) {
#if NV_TENSORRT_MAJOR >= 10
  return engine.createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
#else
  return engine.createExecutionContextWithoutDeviceMemory();
#endif
}

void set_activations(nvinfer1::IExecutionContext& context, CudaAddress memory, [[maybe_unused]] std::size_t bytes) {
#if NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR > 0)
  context.setDeviceMemoryV2(reinterpret_cast<void*>(memory), static_cast<std::int64_t>(bytes));
#else
  context.setDeviceMemory(reinterpret_cast<void*>(memory));
#endif
}

void set_shape(nvinfer1::IExecutionContext& context, const Plan& plan, const TensorSpec& tensor, const Dims& dims) {
  const Shape shape = tensor.resolve(dims);
  nvinfer1::Dims sizes{};
  sizes.nbDims = static_cast<std::int32_t>(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i)
    sizes.d[i] = static_cast<std::decay_t<decltype(sizes.d[0])>>(shape[i]);  // 32 bits before TensorRT 10
  if (!context.setInputShape(tensor.name.c_str(), sizes))
    throw request_error(plan.graph() + ": the plan does not accept shape " + to_string(shape) + " for " + tensor.name +
                        rebuild + ", with wider limits");
}

}  // namespace

void RecordingLogger::log(Severity severity, const char* message) noexcept {
  const bool is_error = severity == Severity::kERROR || severity == Severity::kINTERNAL_ERROR;
  if (is_error || severity == Severity::kWARNING)
    tacoglow::log(is_error ? TACOGLOW_LOG_ERROR : TACOGLOW_LOG_WARNING, message);
  if (!is_error) return;
  try {
    last_logged_error = message;
  } catch (...) {
    last_logged_error.clear();
  }
}

std::string RecordingLogger::last_error() { return last_logged_error; }

Plan::Plan(nvinfer1::IRuntime& runtime, const std::filesystem::path& path, const std::string& graph,
           const GraphSpec& spec)
    : runtime_(runtime), path_(path), graph_(graph), spec_(spec), content_(read(path)), engine_(deserialize()) {
  check_tensors(*engine_);
  read_profiles(*engine_);
  activation_bytes_ = activation_bytes_of(*engine_);
  if (contexts_share_a_profile())
    std::string().swap(content_);  // frees its memory, which an assignment keeps
  else
    engine_.reset();
}

std::shared_ptr<nvinfer1::ICudaEngine> Plan::deserialize() const {
  static std::mutex one_at_a_time;  // all plans share the runtime
  const std::lock_guard lock(one_at_a_time);
  std::shared_ptr<nvinfer1::ICudaEngine> engine(runtime_.deserializeCudaEngine(content_.data(), content_.size()));
  if (!engine)
    throw backend_error(to_name(path_) + ": TensorRT cannot load this plan: " + RecordingLogger::last_error() +
                        rebuild);
  return engine;
}

void Plan::check_tensors(const nvinfer1::ICudaEngine& engine) const {
  const auto check_side = [&](const std::vector<TensorSpec>& tensors, nvinfer1::TensorIOMode mode) {
    for (const auto& tensor : tensors)
      if (engine.getTensorIOMode(tensor.name.c_str()) != mode ||
          engine.getTensorDataType(tensor.name.c_str()) != data_type(tensor.dtype))
        throw bundle_error(graph_ + ": tensor '" + tensor.name +
                           "' is missing from the plan, or has a different dtype or direction than in the manifest" +
                           rebuild);
  };
  check_side(spec_.inputs, nvinfer1::TensorIOMode::kINPUT);
  check_side(spec_.outputs, nvinfer1::TensorIOMode::kOUTPUT);
  const auto listed = static_cast<std::int32_t>(spec_.inputs.size() + spec_.outputs.size());
  if (engine.getNbIOTensors() != listed)
    throw bundle_error(graph_ + ": expected a plan with " + std::to_string(listed) + " tensors, got " +
                       std::to_string(engine.getNbIOTensors()) + rebuild);
}

void Plan::read_profiles(const nvinfer1::ICudaEngine& engine) {
  profiles_.resize(static_cast<std::size_t>(engine.getNbOptimizationProfiles()));
  for (std::size_t i = 0; i < profiles_.size(); ++i)
    for (const auto& tensor : spec_.inputs) {
      const auto corner = [&](nvinfer1::OptProfileSelector which) {
        return shape_of(engine.getProfileShape(tensor.name.c_str(), static_cast<std::int32_t>(i), which));
      };
      profiles_[i][tensor.name] = {corner(nvinfer1::OptProfileSelector::kMIN),
                                   corner(nvinfer1::OptProfileSelector::kMAX)};
    }
}

std::int32_t Plan::best_profile(const Dims& dims) const {
  const auto admits = [&](const std::map<std::string, Corners>& profile) {
    return std::all_of(spec_.inputs.begin(), spec_.inputs.end(), [&](const TensorSpec& tensor) {
      const Shape shape = tensor.resolve(dims);
      const auto& [least, most] = profile.at(tensor.name);
      if (least.size() != shape.size() || most.size() != shape.size()) return false;
      for (std::size_t i = 0; i < shape.size(); ++i)
        if (shape[i] < least[i] || shape[i] > most[i]) return false;
      return true;
    });
  };
  const auto found = std::find_if(profiles_.rbegin(), profiles_.rend(), admits);
  return static_cast<std::int32_t>(profiles_.rend() - found) - 1;
}

ExecutionContext Plan::create_execution_context(const DeviceMemory& activations) const {
  struct Owner {
    std::shared_ptr<nvinfer1::ICudaEngine> engine;
    std::unique_ptr<nvinfer1::IExecutionContext> context;  // destroyed before its engine
  };
  const auto owner = std::make_shared<Owner>();
  owner->engine = engine_ ? engine_ : deserialize();
  owner->context.reset(create_context(*owner->engine));
  if (!owner->context)
    throw backend_error(graph_ + ": TensorRT cannot create an execution context: " + RecordingLogger::last_error());
  set_activations(*owner->context, activations.get(), activation_bytes_);
  return {owner, owner->context.get()};
}

void set_shapes(nvinfer1::IExecutionContext& context, const Plan& plan, const Dims& dims, CudaStreamHandle stream) {
  const std::int32_t profile = std::max(plan.best_profile(dims), 0);  // which rejects the shapes, if none admits them
  if (profile != context.getOptimizationProfile() && !context.setOptimizationProfileAsync(profile, stream))
    throw backend_error(plan.graph() + ": TensorRT cannot use profile " + std::to_string(profile) + ": " +
                        RecordingLogger::last_error());
  for (const auto& tensor : plan.spec().inputs) set_shape(context, plan, tensor, dims);
}

void set_address(nvinfer1::IExecutionContext& context, const std::string& tensor, CudaAddress address) {
  if (!context.setTensorAddress(tensor.c_str(), reinterpret_cast<void*>(address)))
    throw backend_error(tensor + ": TensorRT rejects its address: " + RecordingLogger::last_error());
}

void enqueue(nvinfer1::IExecutionContext& context, const Plan& plan, CudaStreamHandle stream) {
  if (!context.enqueueV3(stream))
    throw backend_error(plan.graph() + ": TensorRT cannot run this graph: " + RecordingLogger::last_error());
}

void BoundPlan::bind(const Dims& dims, CudaStreamHandle stream) {
  if (dims == dims_) return;
  dims_.clear();
  set_shapes(*context_, plan_, dims, stream);
  for (const auto* side : {&plan_.spec().inputs, &plan_.spec().outputs})
    for (const TensorSpec& tensor : *side) {
      Buffer& buffer = buffers_[tensor.name];
      buffer.bytes = element_count(tensor.resolve(dims)) * element_bytes(tensor.dtype);
      if (buffer.device.get() == 0 || buffer.capacity < buffer.bytes) {
        buffer.device = device_memory(buffer.bytes);
        buffer.host = pinned_memory(buffer.bytes);
        buffer.capacity = buffer.bytes;
      }
      set_address(*context_, tensor.name, buffer.device.get());
    }
  dims_ = dims;
}

void BoundPlan::capture_run(CudaStreamHandle stream) {
  run(stream);
  wait_for(stream, plan_.graph().c_str());
  graph_ = capture(stream, [&] { enqueue(*context_, plan_, stream); });
}

void BoundPlan::copy_in(const std::string& tensor, const Tensor& from, CudaStreamHandle stream) {
  const Buffer& buffer = buffers_.at(tensor);
  std::memcpy(buffer.host.get(), from.data(), buffer.bytes);
  copy(buffer.device.get(), address_of(buffer.host), buffer.bytes, stream, "copy in");
}

void BoundPlan::run(CudaStreamHandle stream) {
  if (graph_.get() == nullptr) return enqueue(*context_, plan_, stream);
  check_cuda(cuda_driver().cuGraphLaunch(graph_.get(), stream), plan_.graph().c_str());
}

void BoundPlan::copy_out(const std::string& tensor, CudaStreamHandle stream) {
  const Buffer& buffer = buffers_.at(tensor);
  copy(address_of(buffer.host), buffer.device.get(), buffer.bytes, stream, "copy out");
}

void BoundPlan::collect(const std::string& tensor, Tensor& into) const {
  std::memcpy(into.data(), buffers_.at(tensor).host.get(), into.size_bytes());
}

void HostGraphRunner::prepare(const Dims& dims) {
  const auto [found, is_new] = prepared_.try_emplace(dims, plan_, activations_);
  if (!is_new) return;
  BoundPlan& bound = found->second;
  bound.bind(dims, stream_.get());
  for (const TensorSpec& input : plan_.spec().inputs) {
    Tensor zeros(input.dtype, input.resolve(dims));
    if (input.dtype == DType::int32 && zeros.shape().size() == 1)
      std::fill_n(zeros.as<std::int32_t>(), zeros.shape()[0], 1);  // a length
    bound.copy_in(input.name, zeros, stream_.get());
  }
  bound.capture_run(stream_.get());
}

Tensors HostGraphRunner::run(const Tensors& inputs, const Dims& dims) {
  Tensors outputs;
  for (const auto& tensor : plan_.spec().outputs) outputs[tensor.name] = Tensor(tensor.dtype, tensor.resolve(dims));
  run(refer_to(inputs), refer_to(outputs), dims);
  return outputs;
}

void HostGraphRunner::run(const ConstTensorRefs& inputs, const TensorRefs& outputs, const Dims& dims,
                          const Draw& draw) {
  const auto found = prepared_.find(dims);
  if (found == prepared_.end() && !any_) any_.emplace(plan_, activations_);
  BoundPlan& bound = found == prepared_.end() ? *any_ : found->second;
  bound.bind(dims, stream_.get());
  for (const auto& [name, input] : inputs) bound.copy_in(name, *input, stream_.get());
  if (draw) draw(bound, stream_.get());
  bound.run(stream_.get());
  for (const auto& [name, output] : outputs) bound.copy_out(name, stream_.get());
  wait_for(stream_.get(), plan_.graph().c_str());
  for (const auto& [name, output] : outputs) bound.collect(name, *output);
}

}  // namespace tacoglow
