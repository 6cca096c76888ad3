#include "cuda_driver.hpp"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include <string>

#include "error.hpp"

namespace tacoglow {
namespace {

#ifdef _WIN32
constexpr const char* library = "nvcuda.dll";
void* find(const char* name) {
  static const HMODULE opened = LoadLibraryA(library);
  return opened == nullptr ? nullptr : reinterpret_cast<void*>(GetProcAddress(opened, name));
}
#else
constexpr const char* library = "libcuda.so.1";
void* find(const char* name) {
  static void* const opened = dlopen(library, RTLD_NOW);
  return opened == nullptr ? nullptr : dlsym(opened, name);
}
#endif

// Throws Error (backend) if the driver has no such function.
template <typename Function>
void look_up(Function*& function, const char* name) {
  function = reinterpret_cast<Function*>(find(name));
  if (function == nullptr) throw backend_error(std::string("CUDA: ") + library + " has no " + name);
}

// Under some names the driver has the functions of an earlier CUDA, and those of cuda.h with "_v2".
CudaDriver load() {
  if (find("cuInit") == nullptr) throw backend_error(std::string("CUDA: no NVIDIA driver: ") + library + " is missing");
  CudaDriver driver{};
  look_up(driver.cuInit, "cuInit");
  look_up(driver.cuDriverGetVersion, "cuDriverGetVersion");
  look_up(driver.cuGetErrorString, "cuGetErrorString");
  look_up(driver.cuDeviceGet, "cuDeviceGet");
  look_up(driver.cuDeviceGetName, "cuDeviceGetName");
  look_up(driver.cuDeviceGetAttribute, "cuDeviceGetAttribute");
  look_up(driver.cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  look_up(driver.cuCtxSetCurrent, "cuCtxSetCurrent");
  look_up(driver.cuMemAlloc, "cuMemAlloc_v2");
  look_up(driver.cuMemFree, "cuMemFree_v2");
  look_up(driver.cuMemAllocHost, "cuMemAllocHost_v2");
  look_up(driver.cuMemFreeHost, "cuMemFreeHost");
  look_up(driver.cuMemcpyAsync, "cuMemcpyAsync");
  look_up(driver.cuMemcpy2DAsync, "cuMemcpy2DAsync_v2");
  look_up(driver.cuMemsetD8Async, "cuMemsetD8Async");
  look_up(driver.cuStreamCreate, "cuStreamCreate");
  look_up(driver.cuStreamDestroy, "cuStreamDestroy_v2");
  look_up(driver.cuStreamSynchronize, "cuStreamSynchronize");
  look_up(driver.cuEventCreate, "cuEventCreate");
  look_up(driver.cuEventDestroy, "cuEventDestroy_v2");
  look_up(driver.cuEventRecord, "cuEventRecord");
  look_up(driver.cuEventSynchronize, "cuEventSynchronize");
  look_up(driver.cuStreamBeginCapture, "cuStreamBeginCapture_v2");
  look_up(driver.cuStreamEndCapture, "cuStreamEndCapture");
  look_up(driver.cuGraphDestroy, "cuGraphDestroy");
  look_up(driver.cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags");
  look_up(driver.cuGraphExecDestroy, "cuGraphExecDestroy");
  look_up(driver.cuGraphLaunch, "cuGraphLaunch");
  look_up(driver.cuModuleLoadData, "cuModuleLoadData");
  look_up(driver.cuModuleUnload, "cuModuleUnload");
  look_up(driver.cuModuleGetFunction, "cuModuleGetFunction");
  look_up(driver.cuFuncSetAttribute, "cuFuncSetAttribute");
  look_up(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  look_up(driver.cuLaunchKernel, "cuLaunchKernel");
  look_up(driver.cuLaunchCooperativeKernel, "cuLaunchCooperativeKernel");
  return driver;
}

Error failure(const CudaDriver& driver, int status, const char* what) {
  const char* text = nullptr;
  driver.cuGetErrorString(status, &text);
  return backend_error(std::string("CUDA: ") + what + ": " +
                       (text == nullptr ? "error " + std::to_string(status) : text));
}

}  // namespace

const CudaDriver& cuda_driver() {
  static const CudaDriver driver = [] {
    const CudaDriver loaded = load();
    if (const int status = loaded.cuInit(0); status != 0) throw failure(loaded, status, "start the driver");
    return loaded;
  }();
  return driver;
}

void check_cuda(int status, const char* what) {
  if (status != 0) throw failure(cuda_driver(), status, what);
}

}  // namespace tacoglow
