// Libraries of kernels, and launches.

#include "kernels.h"

#include <dlfcn.h>

#include "calls.h"

using namespace pretend;

namespace {

const char* refuse_pointers(const Emulation& emulation, void** arguments) {
  for (int i = 0; i < emulation.parameters; ++i) {
    const void* address = *static_cast<void**>(arguments[i]);
    if (emulation.is_pointer[i] && address != nullptr && memory.find(address) == nullptr)
      return "a kernel was given an address that is not allocated";
  }
  return nullptr;
}

void run_kernel(const Kernel& kernel, const Launch& launch, std::vector<std::vector<char>>& values) {
  if (!runs_kernels) return;
  {
    Guard guard(lock);
    const auto trap = refused.find("kernel " + kernel.name);
    if (trap != refused.end()) return fault.set(trap->second.status, kernel.name + ": a trap");
  }
  std::vector<void*> arguments;
  for (auto& value : values) arguments.push_back(value.data());
  const char* failure = *kernel.loaded ? refuse_pointers(*kernel.emulation, arguments.data())
                                       : "a kernel ran after its library was unloaded";
  if (failure == nullptr) failure = kernel.emulation->run(launch, arguments.data());
  if (failure != nullptr) fault.set(LAUNCH_FAILED, kernel.name + ": " + failure);
}

constexpr int COOPERATIVE = 2;  // a launch attribute: all blocks are resident together

struct LaunchAttribute {  // CUlaunchAttribute
  int id;
  char padding[4];
  int cooperative;
  char rest[60];
};

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid[3], block[3], shared_bytes;
  Handle stream;
  const LaunchAttribute* attributes;
  unsigned attribute_count;
};

void launch(const LaunchConfig& config, Handle function, void** arguments) {
  const auto stream = stream_here(config.stream);
  const auto kernel = kernels.get(function);
  const unsigned threads = config.block[0] * config.block[1] * config.block[2];
  const unsigned blocks = config.grid[0] * config.grid[1] * config.grid[2];
  require(threads > 0 && threads <= 1024 && blocks > 0, INVALID_VALUE);
  require(static_cast<int>(config.shared_bytes) <= kernel->shared_bytes, INVALID_VALUE);
  for (unsigned i = 0; i < config.attribute_count; ++i) {
    const LaunchAttribute& attribute = config.attributes[i];
    const bool together = attribute.id == COOPERATIVE && attribute.cooperative;
    if (together && static_cast<int>(blocks) > device_attribute(MULTIPROCESSORS))
      throw Failure{COOPERATIVE_LAUNCH_TOO_LARGE};
  }
  std::vector<std::vector<char>> values;
  for (int i = 0; i < kernel->emulation->parameters; ++i) {
    const char* value = static_cast<const char*>(arguments[i]);
    values.emplace_back(value, value + kernel->emulation->sizes[i])
        .resize(std::max<size_t>(8, kernel->emulation->sizes[i]));
  }
  const auto count = [kernel] {
    Guard guard(lock);
    ++counts["kernel " + kernel->name];
  };
  const bool is_captured = stream->capture != nullptr;  // then it is launched with its graph
  if (!is_captured) count();
  Launch what;
  std::copy(config.grid, config.grid + 3, what.grid);
  std::copy(config.block, config.block + 3, what.block);
  what.shared_bytes = config.shared_bytes;
  stream->enqueue([=]() mutable {
    if (is_captured) count();
    run_kernel(*kernel, what, values);
  });
}

}  // namespace

extern "C" {

// In place of a cubin: the path of a library that defines EMULATED_KERNELs, which ends with a zero.
CUresult cuLibraryLoadData(Handle* library, const char* path, ...) {
  return call(__func__, [&] {
    void* code = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    require(code != nullptr, INVALID_VALUE);
    libraries.add(library, std::make_shared<Library>(Library{code, {}}));
  });
}
CUresult cuModuleLoadData(Handle* module, const char* path) {
  return call(__func__, [&] { need_context(), require(cuLibraryLoadData(module, path) == SUCCESS, INVALID_VALUE); });
}
CUresult cuLibraryUnload(Handle library) {
  return release(__func__, [&] { *libraries.remove(library)->loaded = false; });
}
CUresult cuLibraryGetKernel(Handle* kernel, Handle handle, const char* name) {
  return call(__func__, [&] {
    const auto library = libraries.get(handle);
    const void* found = dlsym(library->code, (std::string("emulated_") + name).c_str());
    require(found != nullptr, NOT_FOUND);
    auto& made = library->kernels[name];
    if (made == nullptr) {
      made = std::make_shared<Kernel>(Kernel{name, static_cast<const Emulation*>(found), library->loaded});
    }
    kernels.add(kernel, made);
  });
}
CUresult cuModuleUnload(Handle module) { return cuLibraryUnload(module); }
CUresult cuModuleGetFunction(Handle* function, Handle module, const char* name) {
  return cuLibraryGetKernel(function, module, name);
}
CUresult cuKernelGetFunction(Handle* function, Handle kernel) {
  return call(__func__, [&] { *function = kernel; });
}
CUresult cuKernelSetAttribute(int attribute, int value, Handle kernel, int) {
  return call(__func__, [&] {
    constexpr int MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
    require(attribute == MAX_DYNAMIC_SHARED_SIZE_BYTES && value <= device_attribute(SHARED_BYTES_OPTIN), INVALID_VALUE);
    kernels.get(kernel)->shared_bytes = value;
  });
}
CUresult cuFuncSetAttribute(Handle function, int attribute, int value) {
  return cuKernelSetAttribute(attribute, value, function, 0);
}
CUresult cuFuncGetAttribute(int* value, int attribute, Handle) {
  return call(__func__, [&] {
    constexpr int NUM_REGS = 4;
    *value = attribute == NUM_REGS ? 128 : 0;
  });
}
CUresult cuKernelGetAttribute(int* value, int attribute, Handle kernel, int) {
  return cuFuncGetAttribute(value, attribute, kernel);
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Handle kernel, int threads, size_t shared_bytes) {
  return call(__func__, [&] {
    *blocks = threads <= 1024 && static_cast<int>(shared_bytes) <= kernels.get(kernel)->shared_bytes;
  });
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, Handle kernel, int threads, size_t bytes,
                                                              unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, threads, bytes);
}
CUresult cuLaunchKernelEx(const LaunchConfig* config, Handle kernel, void** arguments, void**) {
  return call(__func__, [&] { launch(*config, kernel, arguments); });
}
CUresult cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared_bytes, Handle stream, void** arguments,
                        void**) {
  return call(__func__, [&] {
    const LaunchConfig config = {
        {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, stream, nullptr, 0};
    launch(config, function, arguments);
  });
}
CUresult cuLaunchCooperativeKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                                   unsigned block_y, unsigned block_z, unsigned shared_bytes, Handle stream,
                                   void** arguments) {
  return call(__func__, [&] {
    const LaunchAttribute together = {COOPERATIVE, {}, 1, {}};
    const LaunchConfig config = {
        {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, stream, &together, 1};
    launch(config, function, arguments);
  });
}
}
