// A TensorRT plan and its execution contexts, with only the API that TensorRT 8.5 to 11 share.
#pragma once

#include <NvInferRuntime.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cuda.hpp"
#include "manifest.hpp"
#include "tensor.hpp"

namespace tacoglow {

// Records TensorRT's last logged error per thread, for the message of the exception that follows. Thread-safe.
class RecordingLogger : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override;
  static std::string last_error();  // of the calling thread
};

// An execution context, which keeps its engine alive.
using ExecutionContext = std::shared_ptr<nvinfer1::IExecutionContext>;

// A plan that was built for this GPU and TensorRT version. Shared by all threads.
class Plan {
 public:
  // Throws Error (bundle, backend) if the plan cannot be loaded, or its tensors differ from those in the manifest.
  Plan(nvinfer1::IRuntime& runtime, const std::filesystem::path& path, const std::string& graph, const GraphSpec& spec);

  const std::string& graph() const { return graph_; }
  const GraphSpec& spec() const { return spec_; }
  // Returns the last profile that admits these sizes, or -1: later profiles are for fewer shapes, and faster.
  std::int32_t best_profile(const Dims& dims) const;
  // Bytes of activation memory that an execution context needs. Contexts may share it that run one after the other.
  std::size_t activation_bytes() const { return activation_bytes_; }
  ExecutionContext create_execution_context(const DeviceMemory& activations) const;

 private:
  std::shared_ptr<nvinfer1::ICudaEngine> deserialize() const;
  void check_tensors(const nvinfer1::ICudaEngine& engine) const;
  void read_profiles(const nvinfer1::ICudaEngine& engine);

  nvinfer1::IRuntime& runtime_;
  std::filesystem::path path_;
  std::string graph_;
  const GraphSpec& spec_;
  struct Corners {
    Shape least, most;
  };
  std::vector<std::map<std::string, Corners>> profiles_;  // of the inputs
  std::size_t activation_bytes_ = 0;
  std::string content_;                            // of the file; empty if engine_ is set
  std::shared_ptr<nvinfer1::ICudaEngine> engine_;  // shared by all execution contexts; null if each loads its own
};

// Throw Error (backend, request) if TensorRT rejects the call.
// Selects the plan's best profile for these sizes, and sets the shapes.
void set_shapes(nvinfer1::IExecutionContext& context, const Plan& plan, const Dims& dims, CudaStreamHandle stream);
void set_address(nvinfer1::IExecutionContext& context, const std::string& tensor, CudaAddress address);
void enqueue(nvinfer1::IExecutionContext& context, const Plan& plan, CudaStreamHandle stream);

// A plan's execution context, with memory for all of its tensors on the GPU and, pinned, on the host.
class BoundPlan {
 public:
  BoundPlan(const Plan& plan, const DeviceMemory& activations)
      : plan_(plan), context_(plan.create_execution_context(activations)) {}

  // Sets the shapes, and enlarges the memory if need be. Nothing may be running.
  void bind(const Dims& dims, CudaStreamHandle stream);
  // Captures a run at the present shapes as a CUDA graph, which `run` launches from then on. The inputs must have been
  // copied in: it is run once before, because an engine's first run at a shape does work that cannot be captured.
  void capture_run(CudaStreamHandle stream);

  CudaAddress address(const std::string& tensor) const { return buffers_.at(tensor).device.get(); }
  // These enqueue. `collect` copies a tensor that was copied out, once the stream has been waited for.
  void copy_in(const std::string& tensor, const Tensor& from, CudaStreamHandle stream);
  void run(CudaStreamHandle stream);
  void copy_out(const std::string& tensor, CudaStreamHandle stream);
  void collect(const std::string& tensor, Tensor& into) const;

 private:
  struct Buffer {
    DeviceMemory device;
    PinnedMemory host;
    std::size_t capacity = 0, bytes = 0;
  };

  const Plan& plan_;
  ExecutionContext context_;
  Dims dims_;
  std::map<std::string, Buffer> buffers_;  // by tensor
  CudaGraph graph_;                        // empty: `run` enqueues the plan
};

// Runs a plan on host tensors, on a stream of its own: it need not wait for decoder steps that are launched ahead. Used
// by one thread at a time.
class HostGraphRunner {
 public:
  explicit HostGraphRunner(const Plan& plan)
      : plan_(plan), stream_(make_stream()), activations_(device_memory(plan.activation_bytes())) {}

  // Captures a run at these sizes, which no request then waits for.
  void prepare(const Dims& dims);
  Tensors run(const Tensors& inputs, const Dims& dims);
  // Writes into these tensors. draw: enqueues what makes the inputs that are not given.
  using Draw = std::function<void(const BoundPlan&, CudaStreamHandle)>;
  void run(const ConstTensorRefs& inputs, const TensorRefs& outputs, const Dims& dims, const Draw& draw = nullptr);

 private:
  const Plan& plan_;
  CudaStream stream_;
  DeviceMemory activations_;  // of all execution contexts
  std::map<Dims, BoundPlan> prepared_;
  std::optional<BoundPlan> any_;  // for other sizes
};

}  // namespace tacoglow
