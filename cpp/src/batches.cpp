// The part of a session that decodes: batches of pieces, and the tries at each.

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "error.hpp"
#include "synthesizer.hpp"

namespace tacoglow {
namespace {

// Returns the padded length at which an item is decoded, the same as in Python. The length matters because a softmax
// sums a longer row in a different order, and the decoder loop amplifies that rounding.
std::int64_t token_bucket(std::int64_t length, const Manifest& manifest) {
  std::int64_t bucket = manifest.synthesis.smallest_token_bucket;
  while (bucket < length) bucket *= 2;
  return std::min(bucket, manifest.dimensions.at('T').max);
}

// [1, T, ...] -> [1, tokens, ...], with the new elements filled with bytes of `padding`.
Tensor pad(const Tensor& tensor, std::int64_t tokens, int padding) {
  Shape shape = tensor.shape();
  shape[1] = tokens;
  Tensor result(tensor.dtype(), shape);
  std::memset(result.data(), padding, result.size_bytes());
  std::memcpy(result.data(), tensor.data(), tensor.size_bytes());
  return result;
}

// Tensors [1, ...] of the same shape -> one tensor [B, ...].
Tensor stack(const std::vector<const Tensor*>& items) {
  Shape shape = items.front()->shape();
  shape[0] = static_cast<std::int64_t>(items.size());
  Tensor result(items.front()->dtype(), shape);
  auto* target = static_cast<unsigned char*>(result.data());
  for (const Tensor* item : items) {
    std::memcpy(target, item->data(), item->size_bytes());
    target += item->size_bytes();
  }
  return result;
}

}  // namespace

void Session::Job::report(const Decoded& decoded, std::int64_t frames_vocoded) const {
  if (request.progress == nullptr) return;
  const tacoglow_progress progress = {piece_index, request.pieces.size(),
                                      static_cast<std::size_t>(decoded.frames_decoded),
                                      static_cast<std::size_t>(frames_vocoded)};
  if (request.progress(&progress, request.progress_user) != 0)
    throw Error(TACOGLOW_CANCELLED, "the callback asked to stop");
}

// Returns batches of one token bucket each, with at most the bundle's batch size.
std::vector<Session::Jobs> Session::group_into_batches(const std::vector<Request>& requests) const {
  const Manifest& manifest = voice_->manifest;
  const auto max_batch = static_cast<std::size_t>(manifest.dimensions.at('B').max);
  std::map<std::int64_t, Jobs> filling;  // by bucket
  std::vector<Jobs> batches;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Request& request = requests[i];
    for (std::size_t k = 0; k < request.pieces.size(); ++k) {
      const auto length = static_cast<std::int64_t>(request.pieces[k].ids.size());
      Jobs& jobs = filling[token_bucket(length, manifest)];
      jobs.push_back({i,
                      k,
                      request,
                      {},
                      {length, request.noise(k), request.decoding.of(length, manifest.frames_per_step), {}},
                      0});
      if (jobs.size() == max_batch) batches.push_back(std::exchange(jobs, {}));
    }
  }
  for (auto& [bucket, jobs] : filling)
    if (!jobs.empty()) batches.push_back(std::move(jobs));
  return batches;
}

Tensors Session::encode(const std::vector<std::int32_t>& ids) {
  const auto length = static_cast<std::int64_t>(ids.size());
  Tensors inputs;
  const std::int64_t bucket = token_bucket(length, voice_->manifest);
  Tensor& tokens = inputs["token_ids"] = Tensor(DType::int32, {1, backend_->pads_token_ids() ? bucket : length});
  std::copy(ids.begin(), ids.end(), tokens.as<std::int32_t>());
  Tensor& lengths = inputs["token_lengths"] = Tensor(DType::int32, {1});
  *lengths.as<std::int32_t>() = static_cast<std::int32_t>(length);
  const Tensors outputs = backend_->run("encoder", inputs);
  Tensors encoded;
  for (const auto& [name, tensor] : outputs) encoded[name] = pad(tensor, bucket, name == "memory_mask" ? 1 : 0);
  return encoded;
}

// Returns a try at these rows of a batch.
std::vector<DecodedItem> Session::decode_once(const Jobs& batch, const Rows& rows, std::uint64_t attempt) {
  std::vector<DecodedItem> items;
  for (const auto row : rows) {
    const Job& job = batch[row];
    items.push_back({job.item.n_tokens, job.request.noise(job.piece_index).for_attempt(attempt), job.item.options, {}});
  }
  Tensors encoded;
  for (const auto& [name, tensor] : batch[rows.front()].encoded) {
    std::vector<const Tensor*> parts;
    for (const auto row : rows) parts.push_back(&batch[row].encoded.at(name));
    encoded[name] = stack(parts);
  }
  Decoding decoding(*backend_, voice_->manifest, std::move(encoded), items);
  while (decoding.running()) {
    decoding.read_chunk();
    for (std::size_t i = 0; i < rows.size(); ++i) batch[rows[i]].report(items[i].decoded, 0);
  }
  return items;
}

// Decodes a batch. Items with a fault are decoded again with new noise, up to their number of retries; the best try of
// each is kept.
void Session::decode_all(Jobs& batch) {
  Rows rows(batch.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  for (std::uint64_t attempt = 0; !rows.empty(); ++attempt) {
    std::vector<DecodedItem> items = decode_once(batch, rows, attempt);
    Rows faulty;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Job& job = batch[rows[i]];
      const std::vector<std::int32_t>& ids = job.piece().ids;
      const std::int64_t own = severity(find_faults(*voice_, ids, items[i].decoded), job.item.n_tokens);
      if (attempt == 0 || own < job.severity) {
        job.item = std::move(items[i]);
        job.severity = own;
      }
      if (job.severity > 0 && attempt < job.request.retries) faulty.push_back(rows[i]);
    }
    rows = std::move(faulty);
  }
}

}  // namespace tacoglow
