// The small matrices (projection, second prenet layer, query), in groups of eight rows.
#pragma once

#include "lstm.cuh"

template <int GROUPS, int BEFORE>
struct RowGroups {  // BEFORE: groups of other matrices, which go to the blocks before this one's first
  static constexpr int COUNT = GROUPS, SLOTS = ceil_div(GROUPS, BLOCKS);
  static constexpr int FOURS = ceil_div(2 * SLOTS, WARPS);  // that a warp finishes

  static __device__ __forceinline__ int group(int slot) {  // GROUPS or more: none
    return (blockIdx.x + BLOCKS - BEFORE % BLOCKS) % BLOCKS + slot * BLOCKS;
  }
  static __device__ __forceinline__ bool any() { return group(0) < GROUPS; }

  // visit(i-th of this warp, slot, which four of the eight rows, number of the four): for the fours whose sums this warp
  // finishes
  template <class Visit>
  static __device__ __forceinline__ void each_four(Visit visit) {
#pragma unroll
    for (int i = 0; i < FOURS; ++i) {
      const int four = i * WARPS + thread_index() / LANES, slot = four / 2;
      if (four < 2 * SLOTS && group(slot) < GROUPS) visit(i, slot, four % 2, group(slot) * 2 + four % 2);
    }
  }
};
using Projection = RowGroups<PROJECTION_GROUPS, 0>;
using Prenet2 = RowGroups<PRENET_GROUPS, PROJECTION_GROUPS>;
using Query = RowGroups<QUERY_GROUPS, PROJECTION_GROUPS + PRENET_GROUPS>;

template <class Rows, int WIDTH>
struct RowTiles {
  uint2 tile[Rows::SLOTS][k_tiles(WIDTH)];
};

template <class Rows, int WIDTH, Section SECTION>
__device__ __forceinline__ RowTiles<Rows, WIDTH> stream_rows(const unsigned char* packed) {
  constexpr int N = k_tiles(WIDTH);
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES;
  const uint2* tiles = section<SECTION, uint2>(packed);
  RowTiles<Rows, WIDTH> streamed = {};
#pragma unroll
  for (int slot = 0; slot < Rows::SLOTS; ++slot) {
    if (Rows::group(slot) < Rows::COUNT) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        streamed.tile[slot][k] = load_weights(tiles + ((Rows::group(slot) * WARPS + warp) * N + k) * LANES + lane);
      }
    }
  }
  return streamed;
}

template <class Rows, int WIDTH>
__device__ __forceinline__ void add_rows(float (&sums)[Rows::SLOTS][4], const Fragments<k_tiles(WIDTH)>& vector,
                                         const RowTiles<Rows, WIDTH>& streamed) {
  __syncwarp();
#pragma unroll
  for (int slot = 0; slot < Rows::SLOTS; ++slot) {
    float odd[4] = {};  // a second chain of sums: a product waits for the one before it
#pragma unroll
    for (int k = 0; k < k_tiles(WIDTH); ++k) {
      const uint2 a = streamed.tile[slot][k];
      multiply(k % 2 == 0 ? sums[slot] : odd, make_uint4(a.x, 0, a.y, 0), vector.tile[k]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) sums[slot][i] += odd[i];
  }
}

using RowSums = float[ROW_SLOTS][WARPS][8][ITEMS];

template <int SLOTS>
__device__ __forceinline__ void store_rows(RowSums& rows, const float (&sums)[SLOTS][4]) {
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) {
    store_pair(rows[slot][thread_index() / LANES][0], thread_index() % LANES / 4, sums[slot][0], sums[slot][1]);
  }
}

// Of one row in each eight lanes, for one item in each of them.
__device__ __forceinline__ float finish_row(const RowSums& rows, int slot, int half) {
  const int lane = thread_index() % LANES, item = lane % 8;
  float chains[2] = {};
#pragma unroll
  for (int warp = 0; warp < WARPS; ++warp) {
    chains[warp % 2] += item < BATCH ? rows[slot][warp][half * 4 + lane / 8][item] : 0.f;
  }
  return chains[0] + chains[1];
}
