#include "cuda_noise.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t threads = 256;  // of a block
constexpr std::int64_t words_per_block = 4;

unsigned blocks_for(std::int64_t count, std::int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

struct Grid {
  unsigned x, y, z;
};

// arguments: of the kernel's types, in its order.
template <typename... Arguments>
void launch(CudaFunctionHandle kernel, Grid grid, CudaStreamHandle stream, Arguments... arguments) {
  std::array<void*, sizeof...(arguments)> addresses = {&arguments...};
  check_cuda(
      cuda_driver().cuLaunchKernel(kernel, grid.x, grid.y, grid.z, threads, 1, 1, 0, stream, addresses.data(), nullptr),
      "draw noise");
}

}  // namespace

DeviceNoise::DeviceNoise(const std::string& cubin)
    : module_(load_module(cubin, "load the noise kernels")),
      draw_dropout_(find_kernel(module_, "draw_dropout")),
      draw_z_(find_kernel(module_, "draw_z")) {}

void DeviceNoise::draw_dropout(const Dropout& dropout, CudaAddress items, CudaStreamHandle stream) const {
  const Grid grid = {blocks_for(dropout.units, threads), static_cast<unsigned>(dropout.batch),
                     static_cast<unsigned>(dropout.steps)};
  launch(draw_dropout_, grid, stream, dropout.memory, static_cast<unsigned long long>(dropout.pitch / sizeof(float)),
         items, static_cast<int>(dropout.units));
}

void DeviceNoise::draw_z(CudaAddress z, const Noise& noise, std::int64_t first_group, std::int64_t groups,
                         std::int64_t group_size, float sigma, CudaStreamHandle stream) const {
  const Grid grid = {blocks_for(groups, threads), blocks_for(group_size, words_per_block), 1};
  const auto [seed, utterance] = noise.key();
  launch(draw_z_, grid, stream, z, static_cast<unsigned long long>(seed), static_cast<unsigned long long>(utterance),
         static_cast<int>(first_group), static_cast<int>(groups), static_cast<int>(group_size), sigma);
}

}  // namespace tacoglow
