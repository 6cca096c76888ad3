// Draws dropout and z where they are used: the words of runtime/noise.py, and z in float32 within 1e-6 of its float64.
//
// In float32 the transform of Box and Muller keeps its precision only if the uniform numbers do: each is a whole number of
// 53 bits, taken apart before it is rounded.

#include "noise.cuh"

constexpr int Z_STREAM = 1;
constexpr int FRACTION_BITS = 53;  // of a uniform number
constexpr u64 ONE = 1ull << FRACTION_BITS;

// sqrt(-2 ln(1 - u)), from the smaller one of u and 1 - u.
__device__ __forceinline__ float radius_of(u64 word) {
  constexpr float UNIT = 1.f / ONE;
  const u64 u = word >> (WORD_BITS - FRACTION_BITS);
  const float logarithm = u < ONE / 2 ? log1pf(-(static_cast<float>(u) * UNIT)) : logf(static_cast<float>(ONE - u) * UNIT);
  return sqrtf(-2.f * logarithm);
}

struct Direction {
  float cosine, sine;
};

// Of 2 pi u: by its octant, and its distance from the nearest multiple of a quarter turn.
__device__ __forceinline__ Direction direction_of(u64 word) {
  constexpr u64 OCTANT = ONE / 8;
  const u64 u = word >> (WORD_BITS - FRACTION_BITS);
  const int octant = static_cast<int>(u / OCTANT);
  const u64 within = u % OCTANT;
  const float half_turns = static_cast<float>(octant % 2 == 0 ? within : OCTANT - within) * (2.f / ONE);
  const float along = cospif(half_turns), across = sinpif(half_turns);
  const bool is_swapped = (octant + 1 & 2) != 0;
  const float cosine = is_swapped ? across : along, sine = is_swapped ? along : across;
  return {(octant + 2 & 4) != 0 ? -cosine : cosine, octant >= 4 ? -sine : sine};
}

// factors: [steps][pitch], of which the first BATCH * units are [batch][units]. items: [batch][3], seed, utterance and
// first step. Grid: units / threads, batch, steps.
extern "C" __global__ void draw_dropout(float* factors, u64 pitch, const u64* items, int units) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x, item = blockIdx.y, step = blockIdx.z;
  if (unit >= units) return;
  const int blocks = (units + BLOCK_BITS - 1) / BLOCK_BITS;
  const u64* drawn = &items[3 * item];
  factors[step * pitch + item * units + unit] = dropout_factor(drawn, static_cast<int>(drawn[2]) + step, blocks, unit);
}

// z: [group_size][groups], sigma times standard normal numbers. Grid: groups / threads, group_size / 4.
extern "C" __global__ void draw_z(float* z, u64 seed, u64 utterance, int first_group, int groups, int group_size,
                                  float sigma) {
  const int group = blockIdx.x * blockDim.x + threadIdx.x;
  if (group >= groups) return;
  const u64 block = static_cast<u64>(first_group + group) * gridDim.y + blockIdx.y + 1;
  const Words drawn = philox(seed, utterance, block, Z_STREAM);
  for (int pair = 0; pair < 2; ++pair) {
    const float radius = radius_of(drawn.word[2 * pair]);
    const Direction direction = direction_of(drawn.word[2 * pair + 1]);
    const int channel = blockIdx.y * 4 + 2 * pair;
    if (channel < group_size) z[channel * groups + group] = radius * direction.cosine * sigma;
    if (channel + 1 < group_size) z[(channel + 1) * groups + group] = radius * direction.sine * sigma;
  }
}
