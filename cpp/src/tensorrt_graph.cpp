#include "tensorrt_graph.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <mutex>
#include <type_traits>
#include <vector>

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

std::vector<char> read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!std::filesystem::is_regular_file(path) || !file)
    throw bundle_error(path.string() + ": cannot read this plan" + rebuild);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool admits(const nvinfer1::ICudaEngine& engine, std::int32_t profile, const TensorSpec& tensor, const Dims& dims) {
  const Shape shape = tensor.resolve(dims);
  const auto corner = [&](nvinfer1::OptProfileSelector which) {
    return engine.getProfileShape(tensor.name.c_str(), profile, which);
  };
  const auto least = corner(nvinfer1::OptProfileSelector::kMIN), most = corner(nvinfer1::OptProfileSelector::kMAX);
  if (least.nbDims != static_cast<std::int32_t>(shape.size())) return false;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < least.d[i] || shape[i] > most.d[i]) return false;
  return true;
}

std::int32_t best_profile(const nvinfer1::ICudaEngine& engine, const GraphSpec& spec, const Dims& dims) {
  for (std::int32_t profile = engine.getNbOptimizationProfiles() - 1; profile > 0; --profile)
    if (std::all_of(spec.inputs.begin(), spec.inputs.end(),
                    [&](const TensorSpec& tensor) { return admits(engine, profile, tensor, dims); }))
      return profile;
  return 0;
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
  if (contexts_share_a_profile())
    content_ = {};
  else
    engine_.reset();
}

std::shared_ptr<nvinfer1::ICudaEngine> Plan::deserialize() const {
  static std::mutex one_at_a_time;  // all plans share the runtime
  const std::lock_guard lock(one_at_a_time);
  std::shared_ptr<nvinfer1::ICudaEngine> engine(runtime_.deserializeCudaEngine(content_.data(), content_.size()));
  if (!engine)
    throw backend_error(path_.string() + ": TensorRT cannot load this plan: " + RecordingLogger::last_error() +
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

ExecutionContext Plan::create_execution_context() const {
  struct Owner {
    std::shared_ptr<nvinfer1::ICudaEngine> engine;
    std::unique_ptr<nvinfer1::IExecutionContext> context;  // destroyed before its engine
  };
  const auto owner = std::make_shared<Owner>();
  owner->engine = engine_ ? engine_ : deserialize();
  owner->context.reset(owner->engine->createExecutionContext());
  if (!owner->context)
    throw backend_error(graph_ + ": TensorRT cannot create an execution context: " + RecordingLogger::last_error());
  return {owner, owner->context.get()};
}

void set_shapes(nvinfer1::IExecutionContext& context, const Plan& plan, const Dims& dims, CudaStreamHandle stream) {
  const std::int32_t profile = best_profile(context.getEngine(), plan.spec(), dims);
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

HostGraphRunner::HostGraphRunner(const Plan& plan) : plan_(plan), context_(plan.create_execution_context()) {}

Tensors HostGraphRunner::run(const Tensors& inputs, const Dims& dims, CudaStreamHandle stream) {
  Tensors outputs;
  for (const auto& tensor : plan_.spec().outputs) outputs[tensor.name] = Tensor(tensor.dtype, tensor.resolve(dims));
  run(refer_to(inputs), refer_to(outputs), dims, stream);
  return outputs;
}

void HostGraphRunner::run(const ConstTensorRefs& inputs, const TensorRefs& outputs, const Dims& dims,
                          CudaStreamHandle stream) {
  set_shapes(*context_, plan_, dims, stream);
  for (const auto& tensor : plan_.spec().inputs) {
    const Tensor& given = *inputs.at(tensor.name);
    copy(reserve(tensor.name, given.size_bytes()), address_of(given.data()), given.size_bytes(), stream, "copy in");
  }
  for (const auto& [name, output] : outputs) reserve(name, output->size_bytes());
  enqueue(*context_, plan_, stream);
  for (const auto& [name, output] : outputs)
    copy(address_of(output->data()), buffers_.at(name).memory.get(), output->size_bytes(), stream, "copy out");
  wait_for(stream, plan_.graph());
}

CudaAddress HostGraphRunner::reserve(const std::string& tensor, std::size_t bytes) {
  Buffer& buffer = buffers_[tensor];
  if (buffer.bytes < bytes) {
    buffer.memory = device_memory(bytes);
    buffer.bytes = bytes;
  }
  set_address(*context_, tensor, buffer.memory.get());
  return buffer.memory.get();
}

}  // namespace tacoglow
