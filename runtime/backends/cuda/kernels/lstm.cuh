// The LSTMs: products of their shares with weights from registers, shared memory and the L2 cache, and the states.
#pragma once

#include "exchange.cuh"

struct Weights {  // where this lane finds its parts of this warp's tiles
  const unsigned char* packed;
  const uint4* shared;
  uint4 held[larger(HELD_COUNT, 1)];
};

template <Share S>
__device__ __forceinline__ const uint4* packed_tiles(const unsigned char* packed) {
  constexpr int TILES = k_tiles(SHARE_WIDTH[S]) * unit_tiles(S);
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES;
  return section<SHARE_SECTIONS + S, uint4>(packed) + ((blockIdx.x * WARPS + warp) * TILES * LANES + lane);
}

// A launch's first touch of a share's weights: registers and shared memory. Each lane later reads what it wrote itself.
template <Share S>
__device__ __forceinline__ void place_weights(Weights& weights, uint4* shared) {
  constexpr int HELD_HERE = HELD_TILES[S] * unit_tiles(S), SHARED_HERE = SHARED_TILES[S] * unit_tiles(S);
  constexpr int HELD_BEFORE = tiles_before(HELD_TILES, S), SHARED_BEFORE = tiles_before(SHARED_TILES, S);
  const uint4* tiles = packed_tiles<S>(weights.packed);
#pragma unroll
  for (int i = 0; i < HELD_HERE; ++i) weights.held[HELD_BEFORE + i] = load_weights(tiles + i * LANES);
#pragma unroll
  for (int i = 0; i < SHARED_HERE; ++i) {
    shared[(SHARED_BEFORE + i) * LANES] = load_weights(tiles + (HELD_HERE + i) * LANES);
  }
}

template <Share S>
struct Streamed {  // the tiles that are neither held nor shared
  static constexpr int FIRST = (HELD_TILES[S] + SHARED_TILES[S]) * unit_tiles(S);
  static constexpr int COUNT = k_tiles(SHARE_WIDTH[S]) * unit_tiles(S) - FIRST;
  uint4 tile[larger(COUNT, 1)];
};

template <Share S>
__device__ __forceinline__ Streamed<S> stream(const Weights& weights) {
  Streamed<S> streamed;
  const uint4* tiles = packed_tiles<S>(weights.packed);
#pragma unroll
  for (int i = 0; i < Streamed<S>::COUNT; ++i) {
    streamed.tile[i] = load_weights(tiles + (Streamed<S>::FIRST + i) * LANES);
  }
  return streamed;
}

template <Share S>
__device__ __forceinline__ void add_share(float (&sums)[unit_tiles(S)][4],
                                          const Fragments<k_tiles(SHARE_WIDTH[S])>& vector, const Weights& weights,
                                          const Streamed<S>& streamed) {
  constexpr int TILES = unit_tiles(S);
  constexpr int HELD_BEFORE = tiles_before(HELD_TILES, S), SHARED_BEFORE = tiles_before(SHARED_TILES, S);
  constexpr int FIRST_SHARED = HELD_TILES[S] * TILES, FIRST_STREAMED = Streamed<S>::FIRST;
  __syncwarp();
#pragma unroll
  for (int k = 0; k < k_tiles(SHARE_WIDTH[S]); ++k) {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
      const int i = k * TILES + tile;
      if (i < FIRST_SHARED) {
        multiply(sums[tile], weights.held[HELD_BEFORE + i], vector.tile[k]);
      } else if (i < FIRST_STREAMED) {
        multiply(sums[tile], weights.shared[(SHARED_BEFORE + i - FIRST_SHARED) * LANES], vector.tile[k]);
      } else {
        multiply(sums[tile], streamed.tile[i - FIRST_STREAMED], vector.tile[k]);
      }
    }
  }
}

template <int TILES>
__device__ __forceinline__ void clear(float (&sums)[TILES][4]) {
#pragma unroll
  for (int tile = 0; tile < TILES; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[tile][i] = 0.f;
  }
}

// A lane's two neighbours of a row of a product's result, items 2 quad and 2 quad + 1.
__device__ __forceinline__ void store_pair(float* rows, int row, float first, float second) {
  const int quad = thread_index() % 4;
  if (2 * quad < BATCH) *reinterpret_cast<float2*>(&rows[row * ITEMS + 2 * quad]) = make_float2(first, second);
}

template <int TILES>
__device__ __forceinline__ void store_sums(float (&rows)[LSTM_ROWS][ITEMS], const float (&sums)[TILES][4]) {
  const int group = thread_index() % LANES / 4;
#pragma unroll
  for (int tile = 0; tile < TILES; ++tile) {
    store_pair(rows[0], tile * 16 + group, sums[tile][0], sums[tile][1]);
    store_pair(rows[0], tile * 16 + group + 8, sums[tile][2], sums[tile][3]);
  }
}

// Cell and hidden states of the block's units of an LSTM. A warp updates a unit: its lanes are gate * 8 + item, and the
// states are in the lanes of gate 0.
template <int TILES>
struct Units {
  static constexpr int SLOTS = ceil_div(4 * TILES, WARPS);
  int first, count;
  float cell[SLOTS], hidden[SLOTS];

  __device__ __forceinline__ Units(int width) {
    first = static_cast<int>(blockIdx.x) * (width / 4) / BLOCKS * 4;
    count = (static_cast<int>(blockIdx.x) + 1) * (width / 4) / BLOCKS * 4 - first;
  }

  // visit(unit in this block, slot): for the units of this warp
  template <class Visit>
  __device__ __forceinline__ void each_unit(Visit visit) const {
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const int unit = slot * WARPS + thread_index() / LANES;
      if (unit < count) visit(unit, slot);
    }
  }

  __device__ __forceinline__ void load(const float* cells, const float* hiddens, int width, u16* vector, u32 tag) {
    const int item = thread_index() % LANES;
    each_unit([&](int unit, int slot) {
      const bool there = item < BATCH && first + unit < width;
      cell[slot] = there ? cells[item * width + first + unit] : 0.f;
      hidden[slot] = there ? hiddens[item * width + first + unit] : 0.f;
      if (item < BATCH) publish<LINEAR_TAG>(vector, first + unit, item, hidden[slot], tag);
    });
  }

  __device__ __forceinline__ void save(float* cells, float* hiddens, int width) const {
    const int item = thread_index() % LANES;
    each_unit([&](int unit, int slot) {
      if (item < BATCH && first + unit < width) {
        cells[item * width + first + unit] = cell[slot];
        hiddens[item * width + first + unit] = hidden[slot];
      }
    });
  }

  // The warps' sums -> gates -> states; the hidden state is published.
  __device__ __forceinline__ void update(const float (&sums)[WARPS][LSTM_ROWS][ITEMS], const float* bias, u16* vector,
                                         u32 tag) {
    const int lane = thread_index() % LANES, item = lane % 8, gate = lane / 8;
    each_unit([&](int unit, int slot) {
      const int row = unit * 4 + gate;
      float chains[2] = {bias[row], 0.f};
#pragma unroll
      for (int warp = 0; warp < WARPS; ++warp) chains[warp % 2] += item < BATCH ? sums[warp][row][item] : 0.f;
      const float sum = chains[0] + chains[1];
      const bool is_tangent = gate == 2;  // tanh(x) = 2 sigmoid(2 x) - 1
      const float curve = sigmoid(is_tangent ? 2.f * sum : sum);
      const float in = is_tangent ? 2.f * curve - 1.f : curve;
      const float forget = __shfl_down_sync(ALL_LANES, in, 8);
      const float candidate = __shfl_down_sync(ALL_LANES, in, 16);
      const float out = __shfl_down_sync(ALL_LANES, in, 24);
      cell[slot] = forget * cell[slot] + in * candidate;
      hidden[slot] = out * hyperbolic_tangent(cell[slot]);
      if (lane < BATCH) publish<LINEAR_TAG>(vector, first + unit, lane, hidden[slot], tag);
    });
  }
};
