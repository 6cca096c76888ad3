// Draws noise where it is used, on a GPU: the words of noise.hpp, by the kernels of
// runtime/backends/cuda/kernels/noise.cu.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "cuda.hpp"
#include "noise.hpp"

namespace tacoglow {

// The kernels, loaded on one GPU. Not changed afterwards, so that threads can share them. All functions enqueue.
class DeviceNoise {
 public:
  explicit DeviceNoise(const std::string& cubin);

  // The memory for the dropout of some steps, float32 [B, units] each, one every `pitch` bytes.
  struct Dropout {
    CudaAddress memory;
    std::size_t pitch;
    std::int64_t batch, units, steps;
  };
  using Item = std::array<std::uint64_t, 3>;  // seed, utterance, first step
  // Draws the dropout of each item's steps from its first one on. items: Item of each, on the GPU.
  void draw_dropout(const Dropout& dropout, CudaAddress items, CudaStreamHandle stream) const;

  // Draws z, float32 [group_size, groups], from that group on: within 1e-6 of Noise::z, times sigma.
  void draw_z(CudaAddress z, const Noise& noise, std::int64_t first_group, std::int64_t groups, std::int64_t group_size,
              float sigma, CudaStreamHandle stream) const;

 private:
  CudaModule module_;
  CudaFunctionHandle draw_dropout_, draw_z_;
};

}  // namespace tacoglow
