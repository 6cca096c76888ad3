// The part of a session that decodes: batches of pieces, and the tries at each.

#include <map>
#include <numeric>
#include <utility>

#include "encoder.hpp"
#include "error.hpp"
#include "synthesizer.hpp"

namespace tacoglow {

void Session::Job::report(std::int64_t frames_decoded, std::int64_t frames_vocoded) const {
  if (!report_progress(request, piece_index, frames_decoded, frames_vocoded))
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
      jobs.push_back({i, k, request, length, request.decoding.of(length, manifest.frames_per_step), {}, {}});
      if (jobs.size() == max_batch) batches.push_back(std::exchange(jobs, {}));
    }
  }
  for (auto& [bucket, jobs] : filling)
    if (!jobs.empty()) batches.push_back(std::move(jobs));
  return batches;
}

// Returns the next try at these rows of a batch.
std::vector<DecodedItem> Session::decode_once(const Jobs& batch, const Rows& rows) {
  const Manifest& manifest = voice_->manifest;
  std::vector<DecodedItem> items;
  std::vector<const Tensors*> encoded;
  for (const auto row : rows) {
    const Job& job = batch[row];
    items.push_back(
        {job.n_tokens, job.request.noise(job.piece_index).for_attempt(job.attempts.count()), job.options, {}});
    encoded.push_back(&job.encoded);
  }
  std::vector<DecodedItem*> pointers;
  for (DecodedItem& item : items) pointers.push_back(&item);
  Decoding decoding(*backend_, manifest, pad_and_stack(encoded, encoded.front()->at("memory").shape()[1]), pointers);
  while (decoding.running()) {
    decoding.read_chunk();
    for (std::size_t i = 0; i < rows.size(); ++i) batch[rows[i]].report(items[i].decoded.frames_decoded, 0);
  }
  return items;
}

// Decodes a batch, and its items with a fault again.
void Session::decode_all(Jobs& batch) {
  Rows rows(batch.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  while (!rows.empty()) {
    std::vector<DecodedItem> items = decode_once(batch, rows);
    Rows again;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Job& job = batch[rows[i]];
      if (job.attempts.add(*voice_, job.piece().ids, std::move(items[i]), job.request.retries))
        again.push_back(rows[i]);
    }
    rows = std::move(again);
  }
}

}  // namespace tacoglow
