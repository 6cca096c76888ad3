// The frame of every function of the driver: counts, requests of tests, faults, and statuses for failures.
#pragma once

#include "gpu.h"

namespace pretend {

using CUresult = int;
using Pointer = unsigned long long;  // CUdeviceptr
using Handle = void*;

// What a call returns, after so many of them.
struct Refusal {
  int status;
  int64_t after;
};

inline Handle const PRIMARY_CONTEXT = reinterpret_cast<Handle>(0xC0DA);
inline thread_local Handle current_context = nullptr;
inline std::atomic<bool> installed{true};      // there is a GPU
inline std::map<std::string, int64_t> counts;  // of calls, and of launches as "kernel NAME"
inline std::map<std::string, Refusal> refused;
inline std::map<int, int> attributes;  // of the device, that a test has set
inline std::atomic<bool> runs_kernels{true};

// The name of a function in cuda.h, which is that in the library but for the end of newer versions.
inline std::string name_of(const std::string& function) {
  const size_t end = function.rfind("_v2");
  return function.substr(0, end);
}

// Runs a driver function: what it does may throw Failure.
template <class Function>
CUresult call(const char* function, Function run) {
  {
    Guard guard(lock);
    const int64_t count = ++counts[name_of(function)];
    const auto refusal = refused.find(name_of(function));
    if (refusal != refused.end() && count > refusal->second.after) return refusal->second.status;
  }
  if (fault.status() != SUCCESS) return fault.status();
  try {
    run();
  } catch (const Failure& failure) {
    return failure.status;
  }
  return fault.status();
}

// Frees and what leads to them, which must work in any thread and after anything.
template <class Function>
CUresult release(const char* function, Function run) {
  {
    Guard guard(lock);
    ++counts[name_of(function)];
  }
  try {
    run();
  } catch (const Failure& failure) {
    const bool is_gone = failure.status == INVALID_VALUE || failure.status == INVALID_HANDLE;
    if (is_gone) fault.set(failure.status, std::string(function) + " of something that is not alive");
    return failure.status;
  }
  return SUCCESS;
}

inline void need_gpu() { require(installed, NO_DEVICE); }

inline void need_context() { require(current_context != nullptr, INVALID_CONTEXT); }

inline std::shared_ptr<Stream> find_stream(Handle handle) {
  static const auto legacy = std::make_shared<Stream>(0);
  return reinterpret_cast<uintptr_t>(handle) < 16 ? legacy : streams.get(handle);
}

// A stream of the thread's current GPU, as everything that enqueues needs it.
inline std::shared_ptr<Stream> stream_here(Handle handle) {
  need_context();
  require(current_context == PRIMARY_CONTEXT, INVALID_HANDLE);
  return find_stream(handle);
}

enum DeviceAttribute {
  MAX_THREADS_PER_BLOCK = 1,
  WARP_SIZE = 10,
  MULTIPROCESSORS = 16,
  CAPABILITY_MAJOR = 75,
  CAPABILITY_MINOR = 76,
  SHARED_BYTES_OPTIN = 97,
};

inline int device_attribute(int attribute) {
  Guard guard(lock);
  const auto set = attributes.find(attribute);
  if (set != attributes.end()) return set->second;
  switch (attribute) {
    case MAX_THREADS_PER_BLOCK:
      return 1024;
    case WARP_SIZE:
      return 32;
    case MULTIPROCESSORS:
      return 132;
    case CAPABILITY_MAJOR:
      return 9;
    case CAPABILITY_MINOR:
      return 0;
    case SHARED_BYTES_OPTIN:
      return 232448;
    default:
      return 1;  // a property that it has
  }
}

}  // namespace pretend
