// The driver, its device and its context; and what tests ask of it (pretend_...).

#include <dlfcn.h>

#include "calls.h"

using namespace pretend;

extern "C" {

CUresult cuInit(unsigned) { return call(__func__, need_gpu); }
CUresult cuDriverGetVersion(int* version) {
  return call(__func__, [&] { *version = 13000; });
}
CUresult cuDeviceGetCount(int* count) {
  return call(__func__, [&] { need_gpu(), *count = 1; });
}
CUresult cuDeviceGet(int* device, int index) {
  return call(__func__, [&] { need_gpu(), require(index == 0, INVALID_DEVICE), *device = 0; });
}
CUresult cuDeviceGetName(char* text, int room, int) {
  return call(__func__, [&] { std::snprintf(text, room, "%s", "Simulated GPU"); });
}
CUresult cuDeviceGetUuid(char* uuid, int) {
  return call(__func__, [&] { std::memset(uuid, 7, 16); });
}
CUresult cuDeviceTotalMem(size_t* bytes, int) {
  return call(__func__, [&] { *bytes = size_t{4} << 30; });
}
CUresult cuDeviceGetAttribute(int* value, int attribute, int) {
  return call(__func__, [&] { *value = device_attribute(attribute); });
}
CUresult cuMemGetInfo(size_t* free, size_t* total) {
  return call(__func__, [&] { need_context(), *free = size_t{3} << 30, *total = size_t{4} << 30; });
}
CUresult cuGetErrorString(CUresult status, const char** text) {
  static thread_local std::string found;
  found = fault.status() == status ? fault.reason() : "an error of the pretended driver";
  *text = found.c_str();
  return SUCCESS;
}
CUresult cuGetErrorName(CUresult status, const char** text) {
  static const std::map<int, const char*> names = {
      {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
      {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
      {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
      {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
      {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
      {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
      {NOT_READY, "CUDA_ERROR_NOT_READY"},
      {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
      {COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE"},
      {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
      {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
      {CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"},
  };
  const auto found = names.find(status);
  *text = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
  return SUCCESS;
}

// Contexts: there is the primary one

CUresult cuDevicePrimaryCtxRetain(Handle* context, int) {
  return call(__func__, [&] { *context = PRIMARY_CONTEXT; });
}
CUresult cuDevicePrimaryCtxRelease(int) {
  return call(__func__, [] {});
}
CUresult cuCtxSetCurrent(Handle context) {
  return call(__func__, [&] { need_gpu(), current_context = context; });
}
CUresult cuCtxPushCurrent(Handle context) {
  return release(__func__, [&] { current_context = context; });
}
CUresult cuCtxPopCurrent(Handle* context) {
  return release(__func__, [&] {
    if (context != nullptr) *context = current_context;
  });
}
CUresult cuCtxGetCurrent(Handle* context) {
  return release(__func__, [&] { *context = current_context; });
}
CUresult cuCtxGetDevice(int* device) {
  return call(__func__, [&] { need_context(), *device = 0; });
}
CUresult cuCtxGetId(Handle, unsigned long long* id) {
  return call(__func__, [&] { *id = 1; });
}
CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return call(__func__, [&] { *least = 0, *greatest = -5; });
}
CUresult cuCtxSynchronize() {
  return call(__func__, [] {
    need_context();
    may_synchronize();
    std::vector<Handle> all;
    streams.each([&](Stream& stream) { all.push_back(&stream); });
    for (Handle handle : all) find_stream(handle)->run_up_to(find_stream(handle)->end());
  });
}

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int version, uint64_t, int* found) {
  Dl_info self;
  dladdr(reinterpret_cast<void*>(&cuGetProcAddress_v2), &self);
  void* library = dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  const std::string wanted = symbol;
  const bool is_earlier = wanted == "cuStreamGetCtx" && version < 12050;
  *function = is_earlier ? nullptr : dlsym(library, (wanted + "_v2").c_str());
  if (*function == nullptr) *function = dlsym(library, symbol);
  if (found != nullptr) *found = *function == nullptr ? 1 : 0;
  return *function == nullptr ? NOT_FOUND : SUCCESS;
}
CUresult cuGetProcAddress(const char* symbol, void** function, int version, uint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}

// For tests

// Begins a test: nothing is wrong, nothing was called. installed: false: the driver finds no GPU.
void pretend_reset(bool is_installed) {
  Guard guard(lock);
  installed = is_installed;
  fault.clear();
  refused.clear(), counts.clear(), attributes.clear();
  rejects_captures = false, runs_kernels = true;
}
// From now on, a function returns this status, or "kernel NAME" ends with it; 0: it works again.
void pretend_refuse(const char* function, int status) {
  Guard guard(lock);
  if (status == SUCCESS)
    refused.erase(function);
  else
    refused[function] = {status, 0};
}
// The same after so many more calls.
void pretend_refuse_after(const char* function, int64_t calls, int status) {
  Guard guard(lock);
  refused[function] = {status, counts[function] + calls};
}
void pretend_reject_captures(bool rejects) { rejects_captures = rejects; }
void pretend_run_kernels(bool runs) { runs_kernels = runs; }
void pretend_set_attribute(int attribute, int value) {
  Guard guard(lock);
  attributes[attribute] = value;
}
// Something failed on the GPU: every later call reports it.
void pretend_fault(int status, const char* reason) { fault.set(status, reason); }
const char* pretend_reason() { return fault.reason(); }
// Calls of a function, or launches of "kernel NAME".
int64_t pretend_count(const char* what) {
  Guard guard(lock);
  return counts[what];
}
bool pretend_is_allocated(const void* address, size_t bytes) { return memory.holds(address, bytes); }
// Waits for a stream, as the destruction of what its work uses does.
void pretend_drain(Handle stream) {
  release(__func__, [&] { find_stream(stream)->run_up_to(find_stream(stream)->end()); });
}
}
