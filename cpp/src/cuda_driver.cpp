#include "cuda_driver.hpp"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

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

template <typename Function>
void look_up(Function*& function, const char* name) {
  function = reinterpret_cast<Function*>(find(name));
  if (function == nullptr) throw backend_error(std::string("CUDA: ") + library + " has no " + name);
}

CudaDriver load() {
  CudaDriver driver{};
  look_up(driver.cuDriverGetVersion, "cuDriverGetVersion");
  look_up(driver.cuDeviceGet, "cuDeviceGet");
  look_up(driver.cuDeviceGetName, "cuDeviceGetName");
  look_up(driver.cuDeviceGetAttribute, "cuDeviceGetAttribute");
  look_up(driver.cuModuleLoadData, "cuModuleLoadData");
  look_up(driver.cuModuleUnload, "cuModuleUnload");
  look_up(driver.cuModuleGetFunction, "cuModuleGetFunction");
  look_up(driver.cuFuncSetAttribute, "cuFuncSetAttribute");
  look_up(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  look_up(driver.cuLaunchCooperativeKernel, "cuLaunchCooperativeKernel");
  look_up(driver.cuGetErrorString, "cuGetErrorString");
  return driver;
}

}  // namespace

const CudaDriver& cuda_driver() {
  static const CudaDriver driver = load();
  return driver;
}

void check_driver(int status, const std::string& what) {
  if (status == 0) return;
  const char* text = nullptr;
  cuda_driver().cuGetErrorString(status, &text);
  throw backend_error("CUDA: " + what + ": " + (text == nullptr ? "error " + std::to_string(status) : text));
}

}  // namespace tacoglow
