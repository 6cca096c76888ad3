// RAII wrappers for the part of CUDA's driver API that the TensorRT backend uses.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "cuda_driver.hpp"
#include "error.hpp"

namespace tacoglow {

// A GPU, whose primary context all libraries of the process share. It is never released: TensorRT keeps its own handles
// to it.
class Gpu {
 public:
  // Makes the GPU current. Throws Error (backend) if there is none of that index.
  explicit Gpu(int index) {
    check_cuda(cuda_driver().cuDeviceGet(&device_, index), ("find GPU " + std::to_string(index)).c_str());
    check_cuda(cuda_driver().cuDevicePrimaryCtxRetain(&context_, device_),
               ("use GPU " + std::to_string(index)).c_str());
    make_current();
  }

  // Makes this thread use the GPU: nearly everything here, and TensorRT, needs one.
  void make_current() const { check_cuda(cuda_driver().cuCtxSetCurrent(context_), "choose the GPU"); }
  // The same where nothing may be thrown, as before objects of the GPU are destroyed.
  void make_current_to_release() const noexcept { cuda_driver().cuCtxSetCurrent(context_); }

  int device() const { return device_; }
  int attribute(int name) const {
    int value = 0;
    check_cuda(cuda_driver().cuDeviceGetAttribute(&value, name, device_), "ask for a property of the GPU");
    return value;
  }

 private:
  int device_ = 0;
  CudaContextHandle context_ = nullptr;
};

// Owns a handle and releases it with that function of the driver, for which its GPU must be current.
template <typename Handle, int (*CudaDriver::*release)(Handle)>
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
    if (handle_ != Handle{}) (cuda_driver().*release)(handle_);
  }

  Handle get() const { return handle_; }

 private:
  Handle handle_{};
};

using CudaStream = CudaOwned<CudaStreamHandle, &CudaDriver::cuStreamDestroy>;
using CudaEvent = CudaOwned<CudaEventHandle, &CudaDriver::cuEventDestroy>;
using CapturedGraph = CudaOwned<CudaGraphHandle, &CudaDriver::cuGraphDestroy>;
using CudaGraph = CudaOwned<CudaGraphExecHandle, &CudaDriver::cuGraphExecDestroy>;
using CudaModule = CudaOwned<CudaModuleHandle, &CudaDriver::cuModuleUnload>;
using DeviceMemory = CudaOwned<CudaAddress, &CudaDriver::cuMemFree>;
using PinnedMemory = CudaOwned<void*, &CudaDriver::cuMemFreeHost>;

inline CudaAddress address_of(const void* memory) { return reinterpret_cast<CudaAddress>(memory); }
inline CudaAddress address_of(const PinnedMemory& memory) { return address_of(memory.get()); }

inline CudaStream make_stream() {
  CudaStreamHandle stream{};
  check_cuda(cuda_driver().cuStreamCreate(&stream, CudaDriver::non_blocking_stream), "create a stream");
  return CudaStream(stream);
}

inline CudaEvent make_event() {
  CudaEventHandle event{};
  check_cuda(cuda_driver().cuEventCreate(&event, CudaDriver::event_without_time), "create an event");
  return CudaEvent(event);
}

inline DeviceMemory device_memory(std::size_t bytes) {
  CudaAddress memory{};
  if (const int status = cuda_driver().cuMemAlloc(&memory, bytes == 0 ? 1 : bytes); status != 0)
    check_cuda(status, ("allocate " + std::to_string(bytes) + " bytes of GPU memory").c_str());
  return DeviceMemory(memory);
}

inline PinnedMemory pinned_memory(std::size_t bytes) {
  void* memory = nullptr;
  if (const int status = cuda_driver().cuMemAllocHost(&memory, bytes == 0 ? 1 : bytes); status != 0)
    check_cuda(status, ("allocate " + std::to_string(bytes) + " bytes of pinned memory").c_str());
  return PinnedMemory(memory);
}

inline CudaModule load_module(const std::string& cubin, const char* what) {
  CudaModuleHandle module{};
  check_cuda(cuda_driver().cuModuleLoadData(&module, cubin.data()), what);
  return CudaModule(module);
}

inline CudaFunctionHandle find_kernel(const CudaModule& module, const char* name) {
  CudaFunctionHandle function{};
  check_cuda(cuda_driver().cuModuleGetFunction(&function, module.get(), name),
             ("find the kernel " + std::string(name)).c_str());
  return function;
}

// Enqueues a copy. Pageable memory is read before the call returns, pinned memory when the stream comes to it.
inline void copy(CudaAddress target, CudaAddress source, std::size_t bytes, CudaStreamHandle stream, const char* what) {
  check_cuda(cuda_driver().cuMemcpyAsync(target, source, bytes, stream), what);
}

// Memory in rows: from one to the next there are `pitch` bytes.
struct CudaRows {
  CudaAddress first;
  std::size_t pitch;
};

// Enqueues a copy of rows that are `width` bytes wide. Neither side may be pageable memory.
inline void copy_rows(CudaRows target, CudaRows source, std::size_t width, std::size_t height, CudaStreamHandle stream,
                      const char* what) {
  CudaCopy2D rows;
  rows.target = target.first, rows.target_pitch = target.pitch;
  rows.source = source.first, rows.source_pitch = source.pitch;
  rows.width = width, rows.height = height;
  check_cuda(cuda_driver().cuMemcpy2DAsync(&rows, stream), what);
}

inline void clear(CudaAddress target, std::size_t bytes, CudaStreamHandle stream, const char* what) {
  check_cuda(cuda_driver().cuMemsetD8Async(target, 0, bytes, stream), what);
}

inline void wait_for(CudaStreamHandle stream, const char* what) {
  check_cuda(cuda_driver().cuStreamSynchronize(stream), what);
}

// Ends the capture of a stream. Returns an empty graph if nothing could be captured.
inline CapturedGraph end_capture(CudaStreamHandle stream) noexcept {
  CudaGraphHandle graph{};
  return CapturedGraph(cuda_driver().cuStreamEndCapture(stream, &graph) == 0 ? graph : nullptr);
}

// Captures what `enqueue` enqueues on the stream as one CUDA graph. Returns an empty one if that cannot be captured:
// the caller then enqueues it each time, which is slower and gives the same result.
template <typename Enqueue>
CudaGraph capture(CudaStreamHandle stream, const Enqueue& enqueue) {
  const CudaDriver& driver = cuda_driver();
  check_cuda(driver.cuStreamBeginCapture(stream, CudaDriver::capture_in_this_thread), "begin a capture");
  try {
    enqueue();
  } catch (const Error&) {
    end_capture(stream);
    return {};
  } catch (...) {
    end_capture(stream);  // a stream that captures can do nothing else
    throw;
  }
  const CapturedGraph graph = end_capture(stream);
  CudaGraphExecHandle executable{};
  if (graph.get() == nullptr || driver.cuGraphInstantiateWithFlags(&executable, graph.get(), 0) != 0) return {};
  return CudaGraph(executable);
}

}  // namespace tacoglow
