// Token ids -> what the decoder attends to.
#pragma once

#include <cstdint>
#include <vector>

#include "backend.hpp"

namespace tacoglow {

// Returns the padded length at which an item is decoded, the same as in Python. The length matters because a softmax
// sums a longer row in a different order, and the decoder loop amplifies that rounding.
std::int64_t token_bucket(std::int64_t length, const Manifest& manifest);

// Returns all token buckets of a voice, ascending.
std::vector<std::int64_t> token_buckets(const Manifest& manifest);

// Returns the encoder's outputs [1, T, ...] for one item, padded to its token bucket.
Tensors encode(BackendInstance& backend, const Manifest& manifest, const std::vector<std::int32_t>& ids);

// Encoder outputs [1, T, ...] of one item each -> those of one batch [B, tokens, ...]; no T exceeds `tokens`.
Tensors pad_and_stack(const std::vector<const Tensors*>& items, std::int64_t tokens);

}  // namespace tacoglow
