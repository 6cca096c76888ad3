// Declares the part of TensorRT's runtime API that the backend uses, for the simulation in tensorrt.cpp. Contains no
// NVIDIA code. tests/cpp/test_tensorrt.py compiles the backend against the real headers if they are available.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backend.hpp"

#define NV_TENSORRT_MAJOR 11
#define NV_TENSORRT_MINOR 1

using cudaStream_t = struct CUstream_st*;

extern "C" std::int32_t getInferLibVersion() noexcept;

namespace nvinfer1 {

enum class DataType : std::int32_t { kFLOAT = 0, kINT32 = 3, kBOOL = 4 };
enum class OptProfileSelector : std::int32_t { kMIN = 0, kOPT = 1, kMAX = 2 };
enum class ExecutionContextAllocationStrategy : std::int32_t { kSTATIC = 0, kON_PROFILE_CHANGE = 1, kUSER_MANAGED = 2 };
enum class TensorIOMode : std::int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };

struct Dims {
  std::int32_t nbDims;
  std::int64_t d[8];
};

class ILogger {
 public:
  enum class Severity : std::int32_t { kINTERNAL_ERROR, kERROR, kWARNING };
  virtual ~ILogger() = default;
  virtual void log(Severity severity, const char* message) noexcept = 0;
};

class ICudaEngine;

class IExecutionContext {
 public:
  IExecutionContext(const ICudaEngine& engine, bool has_profile);
  ~IExecutionContext();
  const ICudaEngine& getEngine() const noexcept { return engine_; }
  std::int32_t getOptimizationProfile() const noexcept { return profile_; }
  bool setOptimizationProfileAsync(std::int32_t profile, cudaStream_t stream) noexcept;
  bool setInputShape(const char* tensor, const Dims& dims) noexcept;
  void setDeviceMemoryV2(void* memory, std::int64_t bytes) noexcept;
  bool setTensorAddress(const char* tensor, void* address) noexcept;
  bool enqueueV3(cudaStream_t stream) noexcept;

 private:
  // What its work needs, so that work which outlives the execution context is found out.
  struct Host {
    std::unique_ptr<tacoglow::Backend> backend;  // computes the graph
    std::unique_ptr<tacoglow::BackendInstance> instance;
    int n_shapes_set = 0;  // captured work checks that it has not changed since
    bool is_alive = true;
  };

  const ICudaEngine& engine_;
  void* activations_ = nullptr;
  bool has_profile_, is_prepared_ = false;
  std::int32_t profile_ = 0;
  std::map<std::string, std::vector<std::int64_t>> shapes_;
  std::map<std::string, void*> addresses_;
  std::shared_ptr<Host> host_ = std::make_shared<Host>();
};

class ICudaEngine {
 public:
  ICudaEngine(ILogger& log, std::string graph) : log(log), graph(std::move(graph)) {}
  TensorIOMode getTensorIOMode(const char* tensor) const noexcept;
  DataType getTensorDataType(const char* tensor) const noexcept;
  std::int32_t getNbIOTensors() const noexcept;
  std::int32_t getNbOptimizationProfiles() const noexcept;
  Dims getProfileShape(const char* tensor, std::int32_t profile, OptProfileSelector select) const noexcept;
  std::int64_t getDeviceMemorySizeV2() const noexcept { return 1 << 12; }
  IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept;

  ILogger& log;
  const std::string graph;

 private:
  bool has_profile_in_use_ = false;
};

class IRuntime {
 public:
  explicit IRuntime(ILogger& log) : log_(log) {}
  ICudaEngine* deserializeCudaEngine(const void* plan, std::size_t bytes) noexcept;

 private:
  ILogger& log_;
};

IRuntime* createInferRuntime(ILogger& log) noexcept;

}  // namespace nvinfer1

namespace simulated {

// The simulated TensorRT: its version, the manifest with the graphs that plans name, and the engines loaded so far.
struct TensorRT {
  std::int32_t version = 0;
  const tacoglow::Manifest* manifest = nullptr;
  int n_engines = 0;
  int n_enqueued = 0;                                       // runs that were not captured
  std::set<std::pair<std::string, std::int32_t>> profiles;  // graph and profile of all runs so far
  std::map<std::string, std::int64_t> n_runs;               // on the GPU, by graph
  bool refuses_captures = false;
  bool rounds_by_batch = false;  // decoder_step rounds four items otherwise than one
  std::int64_t max_batch = 0;    // that engines were built for; 0: the bundle's
};
TensorRT& tensorrt();

// Looks up a function of the pretended driver, in tests/pretend_driver, by name.
void* find_in_driver(const char* name);

// Calls a function of the pretended driver. Its arguments must have exactly the parameters' types.
template <typename Result, typename... Arguments>
Result call_driver(const char* name, Arguments... arguments) {
  return reinterpret_cast<Result (*)(Arguments...)>(find_in_driver(name))(arguments...);
}

}  // namespace simulated
