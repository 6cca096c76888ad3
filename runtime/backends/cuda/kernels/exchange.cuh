// How blocks publish values and receive them; fused_decoder.cu explains it under HOW BLOCKS TALK.
#pragma once

#include "layout.cuh"

template <int N>
struct Fragments {  // of a vector: B operands of N k tiles, four values of one item in a lane
  uint2 tile[N];
};

__device__ __forceinline__ u32 tag_of(int round) { return ~round & 1; }

__device__ __forceinline__ void poll_again(u32& polls) {
  if (++polls == POLL_LIMIT) give_up();
}

__device__ __forceinline__ float sigmoid(float x) { return reciprocal(1.f + power_of_two(-LOG2_E * x)); }
__device__ __forceinline__ float hyperbolic_tangent(float x) {
  return 1.f - 2.f * reciprocal(1.f + power_of_two(2.f * LOG2_E * x));
}

__device__ __forceinline__ float within_linear(float x) { return fminf(fmaxf(x, -LARGEST_LINEAR), LARGEST_LINEAR); }

__device__ __forceinline__ float sum_of_lanes(float value) {
#pragma unroll
  for (int distance = LANES / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
  return value;
}

__device__ __forceinline__ int place_of(int unit, int item) { return (unit / 32 * BATCH + item) * 32 + unit % 32; }

template <TagBit BIT>
__device__ __forceinline__ void publish(u16* vector, int unit, int item, float value, u32 tag) {
  store_value(&vector[place_of(unit, item)], static_cast<u16>((to_half(value) & ~(1u << BIT)) | tag << BIT));
}

__device__ __forceinline__ void publish(u32* place, float value, u32 tag) {
  store_value(place, (__float_as_uint(value) & ~1u) | tag);
}

__device__ __forceinline__ float value_of(u32 published) { return __uint_as_float(published & ~1u); }

// Before a receive, with GRID_BARRIERS: returns when all blocks have come. barriers: how many this launch has had.
__device__ __forceinline__ void wait_for_all_blocks(Exchange& exchange, u32& barriers) {
  if constexpr (GRID_BARRIERS) {
    ++barriers;
    __syncthreads();
    if (thread_index() == 0) {
      release_add_one(&exchange.arrivals);
      u32 polls = 0;
      while (load_acquire(&exchange.arrivals) < barriers * BLOCKS) poll_again(polls);
    }
    __syncthreads();
  }
}

// Whether a poll that saw these bits, of which `tags` should be clear, has to look again.
__device__ __forceinline__ bool is_missing(u32 bits, u32 tags) { return !GRID_BARRIERS && (bits & tags) != 0; }

// This warp's slice of a vector, once all of it has come.
template <int WIDTH, TagBit BIT>
__device__ __forceinline__ Fragments<k_tiles(WIDTH)> receive(const u16* vector, u32 tag) {
  constexpr int N = k_tiles(WIDTH);
  constexpr u32 TAGS = 0x00010001u << BIT;  // of two halves
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES, item = lane / 4, quad = lane % 4;
  const int first = warp * N;
  Fragments<N> received = {};
  if (item < BATCH) {
    const u32 expected = tag * TAGS;
    u32 polls = 0, missing;
    do {
      missing = 0;
      if constexpr (N % 2 == 0) {  // two k tiles are neighbours
#pragma unroll
        for (int i = 0; i < N; i += 2) {
          if (first + i < WIDTH / 16) {
            const int place = place_of((first + i) * 16 + quad * 8, item);
            const uint4 both = load_values(reinterpret_cast<const uint4*>(&vector[place]));
            received.tile[i] = make_uint2(both.x, both.y);
            received.tile[i + 1] = make_uint2(both.z, both.w);
            missing |= (both.x ^ expected) | (both.y ^ expected) | (both.z ^ expected) | (both.w ^ expected);
          }
        }
      } else {
#pragma unroll
        for (int i = 0; i < N; ++i) {
          if (first + i < WIDTH / 16) {
            const int place = place_of((first + i) / 2 * 32 + quad * 8 + (first + i) % 2 * 4, item);
            received.tile[i] = load_values(reinterpret_cast<const uint2*>(&vector[place]));
            missing |= (received.tile[i].x ^ expected) | (received.tile[i].y ^ expected);
          }
        }
      }
      poll_again(polls);
    } while (is_missing(missing, TAGS));
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < N; ++i) received.tile[i] = make_uint2(received.tile[i].x & ~TAGS, received.tile[i].y & ~TAGS);
  return received;
}
