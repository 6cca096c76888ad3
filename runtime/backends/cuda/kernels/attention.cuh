// Location features, energies, softmax and the windows of attention weights.
#pragma once

#include "exchange.cuh"

struct TokenTile {
  int item, first;  // token

  // Tiles go to blocks from the last on, since the first ones own rows of the projection.
  __device__ __forceinline__ explicit TokenTile(int slot) {
    const int tile = slot * BLOCKS + (BLOCKS - 1 - blockIdx.x);
    item = tile % BATCH;
    first = tile / BATCH * 8;
  }
  // Whether any of its tokens are to be attended to; tiles beyond the batch's last are not.
  __device__ __forceinline__ bool active(const Shared& shared) const {
    return first < TOKENS && first < shared.length[item];
  }
};

// Location features, a convolution over the windows, plus processed memory. Half precision would not do here, so weights
// and windows are each a sum of two halves, and three of the four products are taken.
__device__ __forceinline__ void locate(Shared& shared, const unsigned char* packed, const float* processed_memory,
                                       int tokens) {
  constexpr int M_TILES = A / 16, K_TILES = 2 * TAP_TILES;
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES, group = lane / 4, quad = lane % 4;
  const uint4* tiles = section<LOCATION, uint4>(packed) + lane;
  for (int task = warp; task < TILE_SLOTS * M_TILES; task += WARPS) {
    const int slot = task / M_TILES, m = task % M_TILES;
    const TokenTile tokens8(slot);
    if (!tokens8.active(shared)) continue;
    uint4 parts[K_TILES][2];  // high, low
#pragma unroll
    for (int i = 0; i < 2 * K_TILES; ++i) parts[i / 2][i % 2] = load_weights(tiles + (m * K_TILES * 2 + i) * LANES);
    float sum[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // dimensions m * 16 + group and + 8, tokens 2 quad and 2 quad + 1
      const int dimension = m * 16 + group + i / 2 * 8, token = tokens8.first + 2 * quad + i % 2;
      const bool there = dimension < ATTENTION && token < tokens;
      sum[i] = there ? processed_memory[(tokens8.item * tokens + token) * ATTENTION + dimension] : 0.f;
    }
    __syncwarp();
#pragma unroll
    for (int k = 0; k < K_TILES; ++k) {
      const float* values = &shared.window[slot][k / TAP_TILES][k % TAP_TILES * 16 + quad * 4 + group];
      u32 high[4], low[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        high[i] = to_half(values[i]);
        low[i] = to_half(values[i] - from_half(high[i]));
      }
      const uint2 high_values = make_uint2(high[0] | high[1] << 16, high[2] | high[3] << 16);
      const uint2 low_values = make_uint2(low[0] | low[1] << 16, low[2] | low[3] << 16);
      multiply(sum, parts[k][0], high_values);
      multiply(sum, parts[k][0], low_values);
      multiply(sum, parts[k][1], high_values);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) shared.feature[slot][2 * quad + i % 2][m * 16 + group + i / 2 * 8] = sum[i];
  }
}

// Energies of the block's tokens, a warp for each.
__device__ __forceinline__ void attend(const Shared& shared, const unsigned char* packed, Exchange& exchange, u32 tag) {
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES;
  for (int task = warp; task < TILE_SLOTS * 8; task += WARPS) {
    const TokenTile tokens8(task / 8);
    const int token = tokens8.first + task % 8;
    if (!tokens8.active(shared) || token >= shared.length[tokens8.item]) continue;
    float energy = 0.f;
#pragma unroll
    for (int chunk = 0; chunk < A / 128; ++chunk) {
      const int first = chunk * 128 + lane * 4;
      const float4 v = section<ENERGY, float4>(packed)[first / 4];
      const float4 feature = *reinterpret_cast<const float4*>(&shared.feature[task / 8][task % 8][first]);
      u32 polls = 0;
      uint4 query;
      do {
        query = load_values(reinterpret_cast<const uint4*>(&exchange.query[tokens8.item][first]));
        poll_again(polls);
      } while (is_missing((query.x ^ tag) | (query.y ^ tag) | (query.z ^ tag) | (query.w ^ tag), 1));
      energy += v.x * hyperbolic_tangent(feature.x + value_of(query.x));
      energy += v.y * hyperbolic_tangent(feature.y + value_of(query.y));
      energy += v.z * hyperbolic_tangent(feature.z + value_of(query.z));
      energy += v.w * hyperbolic_tangent(feature.w + value_of(query.w));
    }
    __syncwarp();
    energy = sum_of_lanes(energy);
    if (lane == 0) publish(&exchange.energies[tokens8.item][token], energy, tag);
  }
}

struct Energies {  // of an item: lane l has tokens 128 c + 4 l .. + 3 of each chunk c; then the attention weights
  float value[CHUNKS][4];
};

__device__ __forceinline__ Energies receive_energies(const u32* energies, int length, u32 tag) {
  const int lane = thread_index() % LANES;
  uint4 loaded[CHUNKS] = {};
  u32 polls = 0;
  u32 missing;
  do {
    missing = 0;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
      const int token = chunk * 128 + lane * 4;
      if (token < length) {
        loaded[chunk] = load_values(reinterpret_cast<const uint4*>(&energies[token]));
        missing |= loaded[chunk].x ^ tag;
        missing |= token + 1 < length ? loaded[chunk].y ^ tag : 0;
        missing |= token + 2 < length ? loaded[chunk].z ^ tag : 0;
        missing |= token + 3 < length ? loaded[chunk].w ^ tag : 0;
      }
    }
    poll_again(polls);
  } while (is_missing(missing, 1));
  __syncwarp();
  Energies received;
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    received.value[chunk][0] = value_of(loaded[chunk].x);
    received.value[chunk][1] = value_of(loaded[chunk].y);
    received.value[chunk][2] = value_of(loaded[chunk].z);
    received.value[chunk][3] = value_of(loaded[chunk].w);
  }
  return received;
}

// Energies -> weights that are not yet divided by their sum, zero beyond the length.
__device__ __forceinline__ void exponentiate(Energies& energies, int length) {
  const int lane = thread_index() % LANES;
  float largest = 0.f;
  if constexpr (!BOUNDED_ENERGIES) {
    largest = -__int_as_float(0x7f800000);
#pragma unroll
    for (int i = 0; i < CHUNKS * 4; ++i) {
      const bool there = i / 4 * 128 + lane * 4 + i % 4 < length;
      largest = fmaxf(largest, there ? energies.value[i / 4][i % 4] : largest);
    }
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, distance));
    }
  }
#pragma unroll
  for (int i = 0; i < CHUNKS * 4; ++i) {
    const bool there = i / 4 * 128 + lane * 4 + i % 4 < length;
    float& value = energies.value[i / 4][i % 4];
    value = there ? power_of_two(LOG2_E * (value - largest)) : 0.f;
  }
}

// The attention weights of an item into the windows of this block's token tiles.
__device__ __forceinline__ void move_windows(Shared& shared, const Energies& weights, int item) {
  const int lane = thread_index() % LANES;
#pragma unroll 1
  for (int slot = 0; slot < TILE_SLOTS; ++slot) {
    const TokenTile tokens8(slot);
    if (tokens8.item != item || !tokens8.active(shared)) continue;
#pragma unroll
    for (int i = 0; i < CHUNKS * 4; ++i) {
      const int place = i / 4 * 128 + lane * 4 + i % 4 - (tokens8.first - WINDOW_BEFORE);
      if (place >= 0 && place < WINDOW) {
        shared.window[slot][0][place] = weights.value[i / 4][i % 4];
        shared.window[slot][1][place] += weights.value[i / 4][i % 4];
      }
    }
  }
}
