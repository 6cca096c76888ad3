// The noise of runtime/noise.py: its words by Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC11), and the prenet's dropout.
#pragma once

using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int DROPOUT_STREAM = 0;
constexpr int WORD_BITS = 64, BLOCK_BITS = 256;  // of a Philox block: four words

struct Words {
  u64 word[4];
};

// The words of a stream's block. NumPy increments its counter before it draws: its first block is block 1.
__device__ __forceinline__ Words philox(u64 key0, u64 key1, u64 block, u64 stream) {
  constexpr u64 M0 = 0xd2e7470ee14c6c93, M1 = 0xca5a826395121157;  // multipliers
  constexpr u64 W0 = 0x9e3779b97f4a7c15, W1 = 0xbb67ae8584caa73b;  // what a round adds to the key
  u64 x0 = block, x1 = stream, x2 = 0, x3 = 0;
#pragma unroll 1
  for (int round = 0; round < 10; ++round) {
    const u64 high0 = __umul64hi(M0, x0), low0 = M0 * x0, high1 = __umul64hi(M1, x2), low1 = M1 * x2;
    x0 = high1 ^ x1 ^ key0;
    x1 = low1;
    x2 = high0 ^ x3 ^ key1;
    x3 = low0;
    key0 += W0;
    key1 += W1;
  }
  return {{x0, x1, x2, x3}};
}

__device__ __forceinline__ u64 philox_word(u64 key0, u64 key1, u64 block, u64 stream, int index) {
  const Words drawn = philox(key0, key1, block, stream);
  return index < 2 ? (index == 0 ? drawn.word[0] : drawn.word[1]) : (index == 2 ? drawn.word[2] : drawn.word[3]);
}

// A unit's factor, 0 or 2, in a step of `blocks` Philox blocks. key: seed and utterance. unit: counts through all layers.
__device__ __forceinline__ float dropout_factor(const u64* key, int step, int blocks, int unit) {
  const int block = step * blocks + unit / BLOCK_BITS + 1;
  const u64 word = philox_word(key[0], key[1], block, DROPOUT_STREAM, unit / WORD_BITS % 4);
  return word >> unit % WORD_BITS & 1 ? 2.f : 0.f;
}
