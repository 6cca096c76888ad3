// The kernels of noise.cu on the CPU, one thread after the other, for ctypes.
//
// CUDA's logf, log1pf, sinpif and cospif may be wrong by one unit in the last place (CUDA C++ Programming Guide,
// "Mathematical Functions"). Here each is the nearest float, moved by up to one unit: a bound on what a GPU computes.

#include <cmath>
#include <cstdint>

#include "kernels.h"

#define __global__
#define __device__
#define __forceinline__ inline

namespace {

struct Index {
  unsigned x, y, z;
};
Index blockIdx, threadIdx, blockDim, gridDim;
int moved = 0;  // units: -1, 0, 1

unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

float move(double exact) {
  const float nearest = static_cast<float>(exact);
  return moved == 0 ? nearest : std::nextafterf(nearest, moved * HUGE_VALF);
}

constexpr double PI = 3.141592653589793;
float logf(float x) { return move(std::log(static_cast<double>(x))); }
float log1pf(float x) { return move(std::log1p(static_cast<double>(x))); }
float sinpif(float x) { return move(std::sin(PI * x)); }
float cospif(float x) { return move(std::cos(PI * x)); }

template <class Kernel>
void run(Index grid, Kernel kernel) {
  blockDim = {256, 1, 1};
  gridDim = grid;
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) kernel();
}

#include "noise.cu"

const char* run_all(const pretend::Launch& launch, const std::function<void()>& kernel) {
  if (launch.block[0] != 256) return "launched with another block than the threads that are emulated";
  run({launch.grid[0], launch.grid[1], launch.grid[2]}, kernel);
  return nullptr;
}

}  // namespace

EMULATED_KERNEL(draw_dropout, run_all)
EMULATED_KERNEL(draw_z, run_all)

extern "C" void move_functions(int units) { moved = units; }

extern "C" void run_draw_z(unsigned x, unsigned y, unsigned z, float* out, u64 seed, u64 utterance, int first_group,
                           int groups, int group_size, float sigma) {
  run({x, y, z}, [&] { draw_z(out, seed, utterance, first_group, groups, group_size, sigma); });
}
