// The functions of CUDA's driver API that load and launch a compiled kernel. They are looked up in the driver when they
// are first needed, so that this library can be loaded on a machine without one.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

struct CUmod_st;
struct CUfunc_st;

namespace tacoglow {

struct CudaDriver {
  using Module = CUmod_st*;
  using Function = CUfunc_st*;

  // Values of the driver's enumerations.
  static constexpr int multiprocessor_count = 16, capability_major = 75, capability_minor = 76;
  static constexpr int max_dynamic_shared_bytes = 8;

  int (*cuDriverGetVersion)(int* version);
  int (*cuDeviceGet)(int* device, int ordinal);
  int (*cuDeviceGetName)(char* name, int length, int device);
  int (*cuDeviceGetAttribute)(int* value, int attribute, int device);
  int (*cuModuleLoadData)(Module* module, const void* image);
  int (*cuModuleUnload)(Module module);
  int (*cuModuleGetFunction)(Function* function, Module module, const char* name);
  int (*cuFuncSetAttribute)(Function function, int attribute, int value);
  int (*cuOccupancyMaxActiveBlocksPerMultiprocessor)(int* blocks, Function function, int threads, std::size_t shared);
  int (*cuLaunchCooperativeKernel)(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                   cudaStream_t stream, void** arguments);
  int (*cuGetErrorString)(int error, const char** text);
};

// Throws Error (backend) if there is no driver, or one without these functions.
const CudaDriver& cuda_driver();

// Throws Error (backend) unless the status is success.
void check_driver(int status, const std::string& what);

}  // namespace tacoglow
