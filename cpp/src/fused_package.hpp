// The fused decoder as `tacoglow build-engines --copy-to` leaves it beside the plans: compiled kernels and packed
// weights, for the GPU on which they were compared with the engine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "manifest.hpp"

namespace tacoglow {

// One kernel, for up to `batch` items of up to `tokens` tokens; runtime/backends/cuda/fused/plan.py says what the sizes
// are.
struct FusedKernel {
  std::int64_t batch, tokens;
  std::int64_t blocks, threads, shared_bytes, workspace_bytes;
  std::string cubin;  // its content
};

struct FusedPackage {
  std::filesystem::path folder;
  std::string gpu;  // its name
  std::int64_t capability_major, capability_minor;
  std::int64_t driver;               // CUDA version, as cuDriverGetVersion reports it
  std::string decoder;               // which one it is and what the comparison has found, in one line
  std::string weights;               // packed, as the kernels read them
  std::vector<FusedKernel> kernels;  // fewest items and tokens first
};

// Reads the package in this folder. Throws Error (bundle, backend) if it is damaged, of another voice, or has not every
// kernel that the voice needs.
FusedPackage load_fused_package(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace tacoglow
