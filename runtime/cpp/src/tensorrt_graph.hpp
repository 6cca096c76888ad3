// One TensorRT plan, and its executions. Only what 8.5 to 11 share is called.
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

// Keeps what TensorRT complains of, for the message of the error that follows. Safe for use from several threads.
class RecordingLogger : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override;
  static std::string last_error();  // of this thread
};

// An execution context, which keeps the engine that it belongs to.
using ExecutionContext = std::shared_ptr<nvinfer1::IExecutionContext>;

// A plan of this machine, shared by all threads.
class Plan {
 public:
  // Throws Error (bundle, engine) if the file is no plan for this machine, or its tensors are not the manifest's.
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
  std::vector<char> content_;                      // until no further engine is made of it
  std::shared_ptr<nvinfer1::ICudaEngine> engine_;  // of all executions; none where each has its own
};

// Throw Error (engine, request) where TensorRT refuses.
void set_shape(nvinfer1::IExecutionContext& context, const Plan& plan, const TensorSpec& tensor, const Dims& dims);
void set_address(nvinfer1::IExecutionContext& context, const std::string& tensor, void* address);
void enqueue(nvinfer1::IExecutionContext& context, const Plan& plan, cudaStream_t stream);

// A plan run over host tensors, copied in and out. Used by one thread.
class HostGraphRunner {
 public:
  explicit HostGraphRunner(const Plan& plan);

  Tensors run(const Tensors& inputs, const Dims& dims, cudaStream_t stream);

 private:
  void* reserve(const std::string& tensor, std::size_t bytes);

  struct Buffer {
    DeviceMemory memory;
    std::size_t bytes = 0;
  };

  const Plan& plan_;
  ExecutionContext context_;
  std::map<std::string, Buffer> buffers_;  // they grow, and are kept from run to run
};

}  // namespace tacoglow
