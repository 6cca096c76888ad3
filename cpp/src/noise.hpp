// Noise as a pure function of (seed, utterance, position), word for word that of Python's runtime/noise.py.
//
// Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11), key = (seed, utterance),
// counter = (block + 1, stream, 0, 0).
//   stream 0: prenet dropout. Each decoder step has ceil(layers * width / 256) blocks; bit i of its words (lowest
//             first) is unit i, layer by layer; a set bit keeps the unit.
//   stream 1: z. Each group has ceil(group_size / 4) blocks; words 2j and 2j + 1 give channels 2j and 2j + 1.
#pragma once

#include <array>
#include <cstdint>

namespace tacoglow {

class Noise {
 public:
  using Block = std::array<std::uint64_t, 4>;
  using Key = std::array<std::uint64_t, 2>;  // seed, utterance

  Noise(std::uint64_t seed, std::uint64_t utterance) : key_{seed, utterance} {}

  // Returns the noise for a retry of this utterance; attempt 0 is the first try, with this noise.
  Noise for_attempt(std::uint64_t attempt) const { return {key_[0], key_[1] + (attempt << 32)}; }

  const Key& key() const { return key_; }

  // Returns one block of four random words.
  Block words(std::uint64_t stream, std::uint64_t block) const;

  // Fills [n_steps, units] with 0 for dropped units and 2 for kept ones; units = layers * width.
  void prenet_dropout(std::int64_t first_step, std::int64_t n_steps, std::int64_t units, float* out) const;

  // Fills [group_size, n_groups] with sigma times standard normal numbers (Box-Muller, in double).
  void z(std::int64_t first_group, std::int64_t n_groups, std::int64_t group_size, float sigma, float* out) const;

 private:
  Key key_;
};

}  // namespace tacoglow
