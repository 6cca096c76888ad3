// What the checks of rows share: short chunks, and the pretended driver's counts and refusals.
#pragma once

#include <cstdint>

#include "simulated/NvInferRuntime.h"
#include "voice.hpp"

namespace tacoglow::checks {

constexpr std::int64_t steps = 4;              // of a chunk, so that utterances have several
constexpr double never = 1.0 - 1e-12;          // a gate that is never reached
constexpr int launch_failed = 719, works = 0;  // statuses of the driver

inline std::int64_t count_calls(const char* function) {
  return simulated::call_driver<std::int64_t>("pretend_count", function);
}

inline void refuse(const char* function, int status) {
  simulated::call_driver<void>("pretend_refuse", function, status);
}

// Launches of chunks so far, with either decoder.
inline std::int64_t count_launches(const Voice& voice) {
  if (voice.decoder.rfind("engine", 0) != 0) return count_calls("kernel fused_decoder");
  return simulated::tensorrt().n_runs["decoder_step"] / steps;
}

}  // namespace tacoglow::checks
