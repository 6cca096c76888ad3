// Simulates the part of CUDA's driver that cuda_driver.hpp names: a GPU of compute capability 9.0 with three
// multiprocessors. A cubin is the path of a library with the kernel in the CPU emulation of
// tests/runtime/backends/cuda/fused.

#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "cuda_driver.hpp"
#include "error.hpp"
#include "work.hpp"

namespace {

using tacoglow::CudaDriver;

constexpr int shared_bytes_per_block = 227 << 10;
constexpr int device_arguments[] = {0, 1, 2, 3, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21};  // of the kernel

using Emulate = const char* (*)(unsigned long long seed, const void* packed, const void* memory, const void* processed,
                                const void* lengths, int tokens, const void* keys, const void* dropout, int steps,
                                int first_step, float gate_logit, void* attention_hidden, void* attention_cell,
                                void* decoder_hidden, void* decoder_cell, void* attention_weights,
                                void* attention_weights_cum, void* attention_context, void* mel, void* gate_logits,
                                void* alignments, void* progress, void* workspace);

int attribute(int* value, int name, int) {
  *value = name == CudaDriver::capability_major ? 9 : name == CudaDriver::multiprocessor_count ? 3 : 0;
  return 0;
}

int load(CudaDriver::Module* module, const void* image) {
  *module = static_cast<CudaDriver::Module>(dlopen(static_cast<const char*>(image), RTLD_NOW));
  if (*module == nullptr) std::fprintf(stderr, "simulated driver: %s\n", dlerror());
  return *module == nullptr ? 200 : 0;
}

int find(CudaDriver::Function* function, CudaDriver::Module module, const char* name) {
  if (std::strcmp(name, "fused_decoder") != 0) return 500;
  *function = reinterpret_cast<CudaDriver::Function>(dlsym(module, "emulate_launch"));
  return *function == nullptr ? 500 : 0;
}

template <typename T>
T get(void** arguments, int index) {
  T value;
  std::memcpy(&value, arguments[index], sizeof(T));
  return value;
}

int launch(CudaDriver::Function function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
           cudaStream_t stream, void** arguments) {
  const auto emulate = reinterpret_cast<Emulate>(function);
  static unsigned long long seed = 0;  // of the emulation's scheduler: every launch has another one
  std::array<void*, 22> p{};
  for (const int i : device_arguments) p[static_cast<std::size_t>(i)] = get<void*>(arguments, i);
  const auto dropout = get<void*>(arguments, 6);
  const int tokens = get<int>(arguments, 4), steps = get<int>(arguments, 7), first_step = get<int>(arguments, 8);
  const auto gate_logit = get<float>(arguments, 9);
  simulated::enqueue(stream, [=] {
    for (const int i : device_arguments) simulated::require_device(p[static_cast<std::size_t>(i)], 1);
    const char* failure = emulate(seed++, p[0], p[1], p[2], p[3], tokens, p[5], dropout, steps, first_step, gate_logit,
                                  p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19], p[20], p[21]);
    if (failure != nullptr) throw std::logic_error(failure);
  });
  return 0;
}

}  // namespace

const CudaDriver& tacoglow::cuda_driver() {
  static const CudaDriver driver = {
      [](int* version) { return *version = 12080, 0; },
      [](int* device, int ordinal) { return *device = ordinal, ordinal == 0 ? 0 : 101; },
      [](char* name, int length, int) {
        return std::snprintf(name, static_cast<std::size_t>(length), "Simulated GPU"), 0;
      },
      attribute,
      load,
      [](CudaDriver::Module module) { return dlclose(module); },
      find,
      [](CudaDriver::Function, int, int bytes) { return bytes <= shared_bytes_per_block ? 0 : 1; },
      [](int* blocks, CudaDriver::Function, int, std::size_t) { return *blocks = 1, 0; },
      launch,
      [](int, const char** text) { return *text = "a simulated failure", 0; },
  };
  return driver;
}

void tacoglow::check_driver(int status, const std::string& what) {
  if (status != 0) throw backend_error("CUDA: " + what + ": a simulated failure");
}
