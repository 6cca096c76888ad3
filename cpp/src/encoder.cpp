#include "encoder.hpp"

#include <algorithm>
#include <cstring>
#include <string>

namespace tacoglow {
namespace {

// Tensors [1, T, ...] -> one tensor [B, tokens, ...], with the new elements filled with bytes of `padding`.
Tensor pad_and_stack(const std::vector<const Tensor*>& items, std::int64_t tokens, int padding) {
  Shape shape = items.front()->shape();
  shape[0] = static_cast<std::int64_t>(items.size());
  shape[1] = tokens;
  Tensor result(items.front()->dtype(), shape);
  std::memset(result.data(), padding, result.size_bytes());
  auto* row = static_cast<unsigned char*>(result.data());
  for (const Tensor* item : items) {
    std::memcpy(row, item->data(), item->size_bytes());
    row += result.size_bytes() / items.size();
  }
  return result;
}

}  // namespace

std::int64_t token_bucket(std::int64_t length, const Manifest& manifest) {
  std::int64_t bucket = manifest.synthesis.smallest_token_bucket;
  while (bucket < length) bucket *= 2;
  return std::min(bucket, manifest.dimensions.at('T').max);
}

std::vector<std::int64_t> token_buckets(const Manifest& manifest) {
  return doubling(manifest.synthesis.smallest_token_bucket, manifest.dimensions.at('T').max);
}

Tensors encode(BackendInstance& backend, const Manifest& manifest, const std::vector<std::int32_t>& ids) {
  const auto length = static_cast<std::int64_t>(ids.size());
  Tensors inputs;
  const std::int64_t bucket = token_bucket(length, manifest);
  Tensor& tokens = inputs["token_ids"] = Tensor(DType::int32, {1, backend.pads_token_ids() ? bucket : length});
  std::copy(ids.begin(), ids.end(), tokens.as<std::int32_t>());
  Tensor& lengths = inputs["token_lengths"] = Tensor(DType::int32, {1});
  *lengths.as<std::int32_t>() = static_cast<std::int32_t>(length);
  const Tensors outputs = backend.run("encoder", inputs);
  return pad_and_stack({&outputs}, bucket);
}

Tensors pad_and_stack(const std::vector<const Tensors*>& items, std::int64_t tokens) {
  Tensors stacked;
  for (const auto& [name, _] : *items.front()) {
    std::vector<const Tensor*> parts;
    for (const Tensors* item : items) parts.push_back(&item->at(name));
    stacked[name] = pad_and_stack(parts, tokens, name == "memory_mask" ? 1 : 0);
  }
  return stacked;
}

}  // namespace tacoglow
