// What the pretended driver knows of a kernel that is compiled for this machine's CPU, as a library of its own.
//
// EMULATED_KERNEL(name, run) makes the kernel `name` findable there; `run` is called with the launch and a function
// that calls the kernel once, as one thread, with the arguments that were given to cuLaunchKernelEx.
#pragma once

#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

namespace pretend {

struct Launch {
  unsigned grid[3], block[3], shared_bytes;
};

struct Emulation {
  int parameters;
  const size_t* sizes;                                  // bytes of each parameter
  const bool* is_pointer;                               // its value is null or an address in the GPU's memory
  const char* (*run)(const Launch&, void** arguments);  // returns why it failed; null: it did not
};

template <class... Parameters>
struct Signature {
  static constexpr size_t sizes[] = {sizeof(Parameters)...};
  static constexpr bool is_pointer[] = {std::is_pointer_v<Parameters>...};
  template <size_t... I>
  static void call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_const_t<Parameters>*>(arguments[I])...);
  }
};

template <class... Parameters>
Signature<Parameters...> signature_of(void (*)(Parameters...));

template <class... Parameters>
void call_with(void (*kernel)(Parameters...), void** arguments) {
  Signature<Parameters...>::call(kernel, arguments, std::index_sequence_for<Parameters...>());
}

}  // namespace pretend

#define EMULATED_KERNEL(name, how)                                                                     \
  static const char* run_emulated_##name(const pretend::Launch& launch, void** arguments) {            \
    return how(launch, [&] { pretend::call_with(name, arguments); });                                  \
  }                                                                                                    \
  extern "C" const pretend::Emulation emulated_##name;                                                 \
  const pretend::Emulation emulated_##name = {                                                         \
      static_cast<int>(std::size(decltype(pretend::signature_of(name))::sizes)),                       \
      decltype(pretend::signature_of(name))::sizes, decltype(pretend::signature_of(name))::is_pointer, \
      run_emulated_##name};
