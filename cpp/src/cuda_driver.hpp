// The functions of CUDA's driver API that the TensorRT backend calls. They are looked up in the driver when they are
// first needed, so that this library can be loaded on a machine without one, and needs no library of the CUDA toolkit.
#pragma once

#include <cstddef>

// Of cuda.h, which is not needed; checks/cuda_abi.cpp compares everything here with it.
struct CUctx_st;
struct CUevent_st;
struct CUfunc_st;
struct CUgraph_st;
struct CUgraphExec_st;
struct CUmod_st;
struct CUstream_st;

namespace tacoglow {

using CudaContextHandle = CUctx_st*;
using CudaEventHandle = CUevent_st*;
using CudaFunctionHandle = CUfunc_st*;
using CudaGraphHandle = CUgraph_st*;
using CudaGraphExecHandle = CUgraphExec_st*;
using CudaModuleHandle = CUmod_st*;
using CudaStreamHandle = CUstream_st*;
using CudaAddress = unsigned long long;  // in the memory of a GPU, or in pinned memory

// Rows that are copied from one pitch to another: CUDA_MEMCPY2D.
struct CudaCopy2D {
  std::size_t source_x = 0, source_y = 0;
  int source_type = 4;  // unified: the address says where it is
  const void* source_host = nullptr;
  CudaAddress source;
  void* source_array = nullptr;
  std::size_t source_pitch;
  std::size_t target_x = 0, target_y = 0;
  int target_type = 4;
  void* target_host = nullptr;
  CudaAddress target;
  void* target_array = nullptr;
  std::size_t target_pitch;
  std::size_t width, height;
};

// Of each function, the version that CUDA 11.4 has.
struct CudaDriver {
  // Values of the driver's enumerations and flags.
  static constexpr int multiprocessor_count = 16, capability_major = 75, capability_minor = 76;
  static constexpr int max_dynamic_shared_bytes = 8;
  static constexpr int capture_in_this_thread = 1;
  static constexpr unsigned non_blocking_stream = 1, event_without_time = 2;

  int (*cuInit)(unsigned flags);
  int (*cuDriverGetVersion)(int* version);
  int (*cuGetErrorString)(int error, const char** text);
  int (*cuDeviceGet)(int* device, int ordinal);
  int (*cuDeviceGetName)(char* name, int length, int device);
  int (*cuDeviceGetAttribute)(int* value, int attribute, int device);
  int (*cuDevicePrimaryCtxRetain)(CudaContextHandle* context, int device);
  int (*cuCtxSetCurrent)(CudaContextHandle context);

  int (*cuMemAlloc)(CudaAddress* address, std::size_t bytes);
  int (*cuMemFree)(CudaAddress address);
  int (*cuMemAllocHost)(void** address, std::size_t bytes);
  int (*cuMemFreeHost)(void* address);
  int (*cuMemcpyAsync)(CudaAddress target, CudaAddress source, std::size_t bytes, CudaStreamHandle stream);
  int (*cuMemcpy2DAsync)(const CudaCopy2D* copy, CudaStreamHandle stream);
  int (*cuMemsetD8Async)(CudaAddress target, unsigned char value, std::size_t bytes, CudaStreamHandle stream);

  int (*cuStreamCreate)(CudaStreamHandle* stream, unsigned flags);
  int (*cuStreamDestroy)(CudaStreamHandle stream);
  int (*cuStreamSynchronize)(CudaStreamHandle stream);
  int (*cuEventCreate)(CudaEventHandle* event, unsigned flags);
  int (*cuEventDestroy)(CudaEventHandle event);
  int (*cuEventRecord)(CudaEventHandle event, CudaStreamHandle stream);
  int (*cuEventSynchronize)(CudaEventHandle event);

  int (*cuStreamBeginCapture)(CudaStreamHandle stream, int mode);
  int (*cuStreamEndCapture)(CudaStreamHandle stream, CudaGraphHandle* graph);
  int (*cuGraphDestroy)(CudaGraphHandle graph);
  int (*cuGraphInstantiateWithFlags)(CudaGraphExecHandle* executable, CudaGraphHandle graph, unsigned long long flags);
  int (*cuGraphExecDestroy)(CudaGraphExecHandle executable);
  int (*cuGraphLaunch)(CudaGraphExecHandle executable, CudaStreamHandle stream);

  int (*cuModuleLoadData)(CudaModuleHandle* module, const void* image);
  int (*cuModuleUnload)(CudaModuleHandle module);
  int (*cuModuleGetFunction)(CudaFunctionHandle* function, CudaModuleHandle module, const char* name);
  int (*cuFuncSetAttribute)(CudaFunctionHandle function, int attribute, int value);
  int (*cuOccupancyMaxActiveBlocksPerMultiprocessor)(int* blocks, CudaFunctionHandle function, int threads,
                                                     std::size_t shared_bytes);
  int (*cuLaunchKernel)(CudaFunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        CudaStreamHandle stream, void** arguments, void** extra);
  int (*cuLaunchCooperativeKernel)(CudaFunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                   CudaStreamHandle stream, void** arguments);
};

// Throws Error (backend) if there is no driver, or one without these functions.
const CudaDriver& cuda_driver();

// Throws Error (backend) unless the status is success.
void check_cuda(int status, const char* what);

}  // namespace tacoglow
