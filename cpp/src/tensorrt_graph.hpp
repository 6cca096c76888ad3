// A TensorRT plan and its execution contexts, with only the API that TensorRT 8.5 to 11 share.
#pragma once

#include <NvInferRuntime.h>

#include <map>
#include <memory>
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
  ExecutionContext create_execution_context() const;

 private:
  std::shared_ptr<nvinfer1::ICudaEngine> deserialize() const;
  void check_tensors(const nvinfer1::ICudaEngine& engine) const;

  nvinfer1::IRuntime& runtime_;
  std::filesystem::path path_;
  std::string graph_;
  const GraphSpec& spec_;
  std::vector<char> content_;                      // of the file; empty if engine_ is set
  std::shared_ptr<nvinfer1::ICudaEngine> engine_;  // shared by all execution contexts; null if each loads its own
};

// Throw Error (backend, request) if TensorRT rejects the call.
// Selects the plan's last profile that admits the shapes, and sets them: later profiles are for fewer shapes, and
// faster.
void set_shapes(nvinfer1::IExecutionContext& context, const Plan& plan, const Dims& dims, CudaStreamHandle stream);
void set_address(nvinfer1::IExecutionContext& context, const std::string& tensor, CudaAddress address);
void enqueue(nvinfer1::IExecutionContext& context, const Plan& plan, CudaStreamHandle stream);

// Runs a plan on host tensors, which are copied to and from the GPU. Used by one thread at a time.
class HostGraphRunner {
 public:
  explicit HostGraphRunner(const Plan& plan);

  Tensors run(const Tensors& inputs, const Dims& dims, CudaStreamHandle stream);
  // Writes into these tensors.
  void run(const ConstTensorRefs& inputs, const TensorRefs& outputs, const Dims& dims, CudaStreamHandle stream);

 private:
  CudaAddress reserve(const std::string& tensor, std::size_t bytes);

  struct Buffer {
    DeviceMemory memory;
    std::size_t bytes = 0;
  };

  const Plan& plan_;
  ExecutionContext context_;
  std::map<std::string, Buffer> buffers_;  // by tensor; grown as needed and reused by later runs
};

}  // namespace tacoglow
