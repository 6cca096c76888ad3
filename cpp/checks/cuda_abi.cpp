// Compares cuda_driver.hpp with CUDA's own header: tests/cpp/test_tensorrt.py compiles this file if it finds one.
// Nothing is run.

#include <cuda.h>

#include <cstddef>
#include <tuple>
#include <type_traits>

#include "cuda_driver.hpp"

namespace {

using tacoglow::CudaCopy2D;
using tacoglow::CudaDriver;

// Enumerations of cuda.h are int here, and its structure for copies is CudaCopy2D.
template <typename T>
struct Plain {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <>
struct Plain<const CUDA_MEMCPY2D*> {
  using type = const CudaCopy2D*;
};

template <typename Function>
struct Signature;
template <typename Result, typename... Parameters>
struct Signature<Result (*)(Parameters...)> {
  using type = typename Plain<Result>::type (*)(typename Plain<Parameters>::type...);
};

#define SAME_FUNCTION(name, theirs) \
  static_assert(std::is_same_v<decltype(CudaDriver::name), Signature<decltype(&theirs)>::type>, #name)

SAME_FUNCTION(cuInit, ::cuInit);
SAME_FUNCTION(cuDriverGetVersion, ::cuDriverGetVersion);
SAME_FUNCTION(cuGetErrorString, ::cuGetErrorString);
SAME_FUNCTION(cuDeviceGet, ::cuDeviceGet);
SAME_FUNCTION(cuDeviceGetName, ::cuDeviceGetName);
SAME_FUNCTION(cuDeviceGetAttribute, ::cuDeviceGetAttribute);
SAME_FUNCTION(cuDevicePrimaryCtxRetain, ::cuDevicePrimaryCtxRetain);
SAME_FUNCTION(cuCtxSetCurrent, ::cuCtxSetCurrent);
SAME_FUNCTION(cuMemAlloc, ::cuMemAlloc);
SAME_FUNCTION(cuMemFree, ::cuMemFree);
SAME_FUNCTION(cuMemAllocHost, ::cuMemAllocHost);
SAME_FUNCTION(cuMemFreeHost, ::cuMemFreeHost);
SAME_FUNCTION(cuMemcpyAsync, ::cuMemcpyAsync);
SAME_FUNCTION(cuMemcpy2DAsync, ::cuMemcpy2DAsync);
SAME_FUNCTION(cuMemsetD8Async, ::cuMemsetD8Async);
SAME_FUNCTION(cuStreamCreate, ::cuStreamCreate);
SAME_FUNCTION(cuStreamDestroy, ::cuStreamDestroy);
SAME_FUNCTION(cuStreamSynchronize, ::cuStreamSynchronize);
SAME_FUNCTION(cuEventCreate, ::cuEventCreate);
SAME_FUNCTION(cuEventDestroy, ::cuEventDestroy);
SAME_FUNCTION(cuEventRecord, ::cuEventRecord);
SAME_FUNCTION(cuEventSynchronize, ::cuEventSynchronize);
SAME_FUNCTION(cuStreamBeginCapture, ::cuStreamBeginCapture);
SAME_FUNCTION(cuStreamEndCapture, ::cuStreamEndCapture);
SAME_FUNCTION(cuGraphDestroy, ::cuGraphDestroy);
SAME_FUNCTION(cuGraphInstantiateWithFlags, ::cuGraphInstantiateWithFlags);
SAME_FUNCTION(cuGraphExecDestroy, ::cuGraphExecDestroy);
SAME_FUNCTION(cuGraphLaunch, ::cuGraphLaunch);
SAME_FUNCTION(cuModuleLoadData, ::cuModuleLoadData);
SAME_FUNCTION(cuModuleUnload, ::cuModuleUnload);
SAME_FUNCTION(cuModuleGetFunction, ::cuModuleGetFunction);
SAME_FUNCTION(cuFuncSetAttribute, ::cuFuncSetAttribute);
SAME_FUNCTION(cuOccupancyMaxActiveBlocksPerMultiprocessor, ::cuOccupancyMaxActiveBlocksPerMultiprocessor);
SAME_FUNCTION(cuLaunchKernel, ::cuLaunchKernel);
SAME_FUNCTION(cuLaunchCooperativeKernel, ::cuLaunchCooperativeKernel);

#define SAME_FIELD(ours, theirs)                                                 \
  static_assert(offsetof(CudaCopy2D, ours) == offsetof(CUDA_MEMCPY2D, theirs) && \
                    sizeof(CudaCopy2D::ours) == sizeof(CUDA_MEMCPY2D::theirs),   \
                #ours)
SAME_FIELD(source_x, srcXInBytes);
SAME_FIELD(source_y, srcY);
SAME_FIELD(source_type, srcMemoryType);
SAME_FIELD(source_host, srcHost);
SAME_FIELD(source, srcDevice);
SAME_FIELD(source_array, srcArray);
SAME_FIELD(source_pitch, srcPitch);
SAME_FIELD(target_x, dstXInBytes);
SAME_FIELD(target_y, dstY);
SAME_FIELD(target_type, dstMemoryType);
SAME_FIELD(target_host, dstHost);
SAME_FIELD(target, dstDevice);
SAME_FIELD(target_array, dstArray);
SAME_FIELD(target_pitch, dstPitch);
SAME_FIELD(width, WidthInBytes);
SAME_FIELD(height, Height);
static_assert(sizeof(CudaCopy2D) == sizeof(CUDA_MEMCPY2D) && CU_MEMORYTYPE_UNIFIED == 4);

static_assert(CudaDriver::multiprocessor_count == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(CudaDriver::capability_major == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(CudaDriver::capability_minor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(CudaDriver::max_dynamic_shared_bytes == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(CudaDriver::capture_in_this_thread == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
static_assert(CudaDriver::non_blocking_stream == CU_STREAM_NON_BLOCKING);
static_assert(CudaDriver::event_without_time == CU_EVENT_DISABLE_TIMING);
static_assert(CUDA_SUCCESS == 0);

}  // namespace
