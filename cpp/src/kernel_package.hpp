// What `tacoglow build-engines --copy-to` leaves beside the plans for the GPU and driver that it ran on: the compiled
// kernels that draw noise and, if they were asked for, those of the fused decoder with its packed weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cuda.hpp"
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
  std::string decoder;               // which one it is, in one line
  std::string weights;               // packed, as the kernels read them
  std::vector<FusedKernel> kernels;  // fewest items and tokens first
};

struct KernelPackage {
  std::string noise;  // a cubin's content; empty if there is none
  std::optional<FusedPackage> fused;
};

// Reads the package in this folder. Throws Error (bundle, backend) if it is damaged, for another GPU, driver or voice,
// or has not every kernel that the voice needs.
KernelPackage load_kernel_package(const std::filesystem::path& folder, const Manifest& manifest, const Gpu& gpu);

}  // namespace tacoglow
