#include "noise.hpp"

#include <cmath>

namespace tacoglow {
namespace {

constexpr std::uint64_t dropout_stream = 0;
constexpr std::uint64_t z_stream = 1;
constexpr std::int64_t words_per_block = 4;
constexpr std::int64_t bits_per_word = 64;
constexpr float keep_scale = 2.0F;  // 1 / (1 - p) for dropout with p = 0.5
constexpr double two_pi = 6.283185307179586;

struct Product {
  std::uint64_t high, low;
};

// 64 x 64 -> 128 bits, in 32-bit halves, because not every compiler has a 128-bit integer.
Product multiply(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t low_half = 0xffffffff;
  const std::uint64_t low = (a & low_half) * (b & low_half);
  const std::uint64_t cross = (a >> 32) * (b & low_half) + (low >> 32);
  const std::uint64_t middle = (a & low_half) * (b >> 32) + (cross & low_half);
  return {(a >> 32) * (b >> 32) + (cross >> 32) + (middle >> 32), a * b};
}

// Maps a word's upper 53 bits to [0, 1).
double uniform(std::uint64_t word) { return static_cast<double>(word >> 11) * 0x1p-53; }

std::int64_t blocks_for(std::int64_t count, std::int64_t per_block) { return (count + per_block - 1) / per_block; }

}  // namespace

Noise::Block Noise::words(std::uint64_t stream, std::uint64_t block) const {
  Block counter = {block + 1, stream, 0, 0};
  auto [k0, k1] = key_;
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(counter[0], 0xD2E7470EE14C6C93), p1 = multiply(counter[2], 0xCA5A826395121157);
    counter = {p1.high ^ counter[1] ^ k0, p1.low, p0.high ^ counter[3] ^ k1, p0.low};
    k0 += 0x9E3779B97F4A7C15;
    k1 += 0xBB67AE8584CAA73B;
  }
  return counter;
}

void Noise::prenet_dropout(std::int64_t first_step, std::int64_t n_steps, std::int64_t units, float* out) const {
  const std::int64_t blocks = blocks_for(units, words_per_block * bits_per_word);
  for (std::int64_t step = 0; step < n_steps; ++step) {
    Block block{};
    for (std::int64_t unit = 0; unit < units; ++unit) {
      const std::int64_t bit = unit % (words_per_block * bits_per_word);
      if (bit == 0) {
        const std::int64_t index = (first_step + step) * blocks + unit / (words_per_block * bits_per_word);
        block = words(dropout_stream, static_cast<std::uint64_t>(index));
      }
      const std::uint64_t word = block[static_cast<std::size_t>(bit / bits_per_word)];
      *out++ = (word >> (bit % bits_per_word) & 1) != 0 ? keep_scale : 0.0F;
    }
  }
}

void Noise::z(std::int64_t first_group, std::int64_t n_groups, std::int64_t group_size, float sigma, float* out) const {
  const std::int64_t blocks = blocks_for(group_size, words_per_block);
  for (std::int64_t group = 0; group < n_groups; ++group) {
    Block block{};
    for (std::int64_t channel = 0; channel < group_size; channel += 2) {
      const std::int64_t word = channel % words_per_block;
      if (word == 0)
        block = words(z_stream, static_cast<std::uint64_t>((first_group + group) * blocks + channel / words_per_block));
      const double radius = std::sqrt(-2.0 * std::log1p(-uniform(block[static_cast<std::size_t>(word)])));
      const double angle = two_pi * uniform(block[static_cast<std::size_t>(word) + 1]);
      out[channel * n_groups + group] = static_cast<float>(radius * std::cos(angle)) * sigma;
      if (channel + 1 < group_size)
        out[(channel + 1) * n_groups + group] = static_cast<float>(radius * std::sin(angle)) * sigma;
    }
  }
}

}  // namespace tacoglow
