// What the fused decoder asks of the hardware, in PTX.
#pragma once

#include "noise.cuh"

using u16 = unsigned short;

#ifndef CUDA_EMULATION  // the tests' cuda_emulation.h has the same functions for the CPU

// threadIdx.x, read anew: what the compiler derived from it would otherwise stay in registers from step to step, where
// the weights should be.
__device__ __forceinline__ int thread_index() {
  int index = threadIdx.x;
  asm volatile("" : "+r"(index));
  return index;
}

__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char dynamic_shared[];
  return dynamic_shared;
}

// Values of an exchange buffer, several at a time; in the L2 cache.
__device__ __forceinline__ uint4 load_values(const uint4* address) {
  uint4 values;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(values.x), "=r"(values.y), "=r"(values.z), "=r"(values.w)
               : "l"(address));
  return values;
}
__device__ __forceinline__ uint2 load_values(const uint2* address) {
  uint2 values;
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0, %1}, [%2];" : "=r"(values.x), "=r"(values.y) : "l"(address));
  return values;
}
__device__ __forceinline__ u32 load_values(const u32* address) {
  u32 value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}
__device__ __forceinline__ void store_value(u16* address, u16 value) {
  asm volatile("st.relaxed.gpu.global.u16 [%0], %1;" ::"l"(address), "h"(value) : "memory");
}
__device__ __forceinline__ void store_value(u32* address, u32 value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

// A grid barrier's counter: what the block wrote before it adds is visible to whoever then acquires the sum.
__device__ __forceinline__ void release_add_one(u32* address) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(address) : "memory");
}
__device__ __forceinline__ u32 load_acquire(const u32* address) {
  u32 value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}

// Packed weights. Volatile, so that a load stays before the poll that it stands before, and is not repeated later.
__device__ __forceinline__ uint4 load_weights(const uint4* address) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
}
__device__ __forceinline__ uint2 load_weights(const uint2* address) {
  uint2 value;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "l"(address));
  return value;
}

// sum[16 x 8] += a[16 x 16] b[16 x 8]. Volatile, so that work stays on its side of a poll.
__device__ __forceinline__ void multiply(float (&sum)[4], uint4 a, uint2 b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

__device__ __forceinline__ u32 to_half(float value) {  // the nearest half's 16 bits
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
__device__ __forceinline__ float from_half(u32 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<u16>(bits)));
  return value;
}
__device__ __forceinline__ float power_of_two(float x) {
  float value;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
  return value;
}
__device__ __forceinline__ float reciprocal(float x) {
  float value;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
  return value;
}
__device__ __forceinline__ u32 clocks() {
  u32 now;
  asm volatile("mov.u32 %0, %%clock;" : "=r"(now));
  return now;
}
__device__ __forceinline__ void give_up() { asm volatile("trap;"); }

#endif  // CUDA_EMULATION
