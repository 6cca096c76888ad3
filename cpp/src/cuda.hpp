// RAII wrappers and error checks for the part of the CUDA runtime that the TensorRT backend uses.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>
#include <utility>

#include "error.hpp"

namespace tacoglow {

inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw backend_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

// Owns a handle and releases it with `release`.
template <typename Handle, cudaError_t (*release)(Handle)>
class CudaOwned {
 public:
  CudaOwned() = default;
  explicit CudaOwned(Handle handle) : handle_(handle) {}
  CudaOwned(CudaOwned&& other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
  CudaOwned& operator=(CudaOwned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~CudaOwned() {
    if (handle_ != Handle{}) release(handle_);
  }

  Handle get() const { return handle_; }

 private:
  Handle handle_{};
};

using CudaStream = CudaOwned<cudaStream_t, cudaStreamDestroy>;
using CudaEvent = CudaOwned<cudaEvent_t, cudaEventDestroy>;
using CudaGraph = CudaOwned<cudaGraphExec_t, cudaGraphExecDestroy>;
using DeviceMemory = CudaOwned<void*, cudaFree>;
using PinnedMemory = CudaOwned<void*, cudaFreeHost>;

inline CudaStream make_stream() {
  cudaStream_t stream{};
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "create a stream");
  return CudaStream(stream);
}

inline CudaEvent make_event() {
  cudaEvent_t event{};
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "create an event");
  return CudaEvent(event);
}

inline DeviceMemory device_memory(std::size_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, bytes == 0 ? 1 : bytes), "allocate device memory");
  return DeviceMemory(memory);
}

inline PinnedMemory pinned_memory(std::size_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMallocHost(&memory, bytes == 0 ? 1 : bytes), "allocate pinned memory");
  return PinnedMemory(memory);
}

}  // namespace tacoglow
