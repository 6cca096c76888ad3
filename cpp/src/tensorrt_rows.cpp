#include "tensorrt_rows.hpp"

#include <algorithm>
#include <string>

#include "encoder.hpp"
#include "error.hpp"

namespace tacoglow {
namespace {

// Returns the token buckets of a plan, which may have been built for fewer tokens than its bundle allows.
std::vector<std::int64_t> buckets_of(const Plan& plan, const Manifest& manifest) {
  std::vector<std::int64_t> buckets;
  for (const std::int64_t tokens : token_buckets(manifest))
    if (plan.best_profile({{'B', 1}, {'T', tokens}}) >= 0) buckets.push_back(tokens);
  return buckets;
}

// Returns the most rows, up to `most`, that the plan takes at every bucket.
std::int64_t widest(const Plan& plan, const std::vector<std::int64_t>& buckets, std::int64_t most) {
  const auto is_taken = [&](std::int64_t tokens) { return plan.best_profile({{'B', most}, {'T', tokens}}) >= 0; };
  while (most > 1 && !std::all_of(buckets.begin(), buckets.end(), is_taken)) --most;
  return most;
}

}  // namespace

RowBatch::RowBatch(const Plan& plan, const Manifest& manifest, std::int64_t tokens, std::int64_t chunk_steps,
                   const std::vector<std::int64_t>& counts, CudaStreamHandle stream, const DeviceMemory& activations,
                   const DeviceNoise* noise)
    : stream_(stream),
      tokens_(tokens),
      buffers_(plan, manifest, {{'B', counts.back()}, {'T', tokens}}, chunk_steps, counts, stream, activations, noise),
      places_(static_cast<std::size_t>(counts.back())) {
  for (std::int64_t place = 0; place < counts.back(); ++place) items_.push_back(buffers_.item(place));
}

RowMemory RowBatch::allocate() const {
  RowMemory memory = {{}, items_.front()};
  std::size_t bytes = 0;
  for (ChunkBuffers::Parts* parts : {&memory.parts.states, &memory.parts.encoded})
    for (auto& [name, part] : *parts) {
      part.address = bytes;
      bytes += part.bytes;
    }
  memory.block = device_memory(bytes);
  for (ChunkBuffers::Parts* parts : {&memory.parts.states, &memory.parts.encoded})
    for (auto& [name, part] : *parts) part.address += memory.block.get();
  return memory;
}

std::unique_ptr<EngineRow> RowBatch::join(const Tensors& encoded, const Noise& noise) {
  auto row = std::make_unique<EngineRow>(EngineRow{this, noise, {}});
  if (idle_.empty()) {
    row->memory = allocate();
    idle_.reserve(++n_allocated_);  // so that leaving cannot fail
  } else {
    row->memory = std::move(idle_.back());
    idle_.pop_back();
  }
  for (const auto& [name, state] : row->memory.parts.states)
    clear(state.address, state.bytes, stream_, "clear a state");
  for (const auto& [name, part] : row->memory.parts.encoded)
    copy(part.address, address_of(encoded.at(name).data()), part.bytes, stream_, "copy the encoder's output");
  return row;
}

void RowBatch::leave(EngineRow& row) noexcept {
  if (row.place >= 0) places_[static_cast<std::size_t>(row.place)] = nullptr;
  idle_.push_back(std::move(row.memory));
}

std::size_t RowBatch::launch(const Starts& rows) {
  arrange(rows);
  const std::size_t parity = launches_++ % ChunkBuffers::n_parities;
  std::vector<ChunkBuffers::Start> items;
  for (const auto& [row, first_step] : rows) items.push_back({row->place, row->noise, first_step});
  buffers_.launch(items, parity);
  return parity;
}

// Gives these rows places among the first ones, and takes all others out of these.
void RowBatch::arrange(const Starts& rows) {
  const auto size = static_cast<std::size_t>(buffers_.fitting(static_cast<std::int64_t>(rows.size())));
  const auto takes_part = [&](const EngineRow* row) {
    return std::any_of(rows.begin(), rows.end(), [=](const auto& each) { return each.first == row; });
  };
  for (std::size_t place = 0; place < places_.size(); ++place) {
    EngineRow* const row = places_[place];
    if (row == nullptr || (place < size && takes_part(row))) continue;
    copy_parts(row->memory.parts.states, items_[place].states);
    row->place = -1;
    places_[place] = nullptr;
  }
  for (const auto& [row, first_step] : rows) {
    if (row->place >= 0) continue;
    const auto free = std::find(places_.begin(), places_.end(), nullptr);
    const auto place = static_cast<std::size_t>(free - places_.begin());
    copy_parts(items_[place].states, row->memory.parts.states);
    copy_parts(items_[place].encoded, row->memory.parts.encoded);
    row->place = static_cast<std::int64_t>(place);
    *free = row;
  }
}

void RowBatch::copy_parts(const ChunkBuffers::Parts& target, const ChunkBuffers::Parts& source) const {
  for (const auto& [name, part] : source)
    copy(target.at(name).address, part.address, part.bytes, stream_, "move a row of the decoder");
}

EngineRows::EngineRows(const Plan& plan, const Manifest& manifest, std::size_t max_rows, std::int64_t chunk_steps,
                       CudaStreamHandle stream, const DeviceMemory& activations, const DeviceNoise* noise)
    : step_size_(static_cast<std::size_t>(manifest.frames_per_step * manifest.n_mel_channels)),
      chunk_steps_(chunk_steps) {
  const std::vector<std::int64_t> buckets = buckets_of(plan, manifest);
  const std::int64_t most = widest(plan, buckets, static_cast<std::int64_t>(max_rows));
  max_rows_ = static_cast<std::size_t>(most);
  for (const std::int64_t tokens : buckets)
    batches_.try_emplace(tokens, plan, manifest, tokens, chunk_steps, doubling(1, most), stream, activations, noise);
}

// All numbers of items that a batch is rounded up to.
std::vector<std::vector<std::int64_t>> EngineRows::checked_batches() const {
  std::vector<std::vector<std::int64_t>> checked;
  for (const auto& [tokens, batch] : batches_)
    for (const std::int64_t count : doubling(1, batch.size())) {
      std::vector<std::int64_t>& lengths = checked.emplace_back();
      for (std::int64_t i = 0; i < count; ++i) lengths.push_back(std::max<std::int64_t>(1, tokens - i % 3));
    }
  return checked;
}

std::size_t EngineRows::join(const Tensors& encoded, const Noise& noise, float, std::int64_t) {
  const std::int64_t tokens = encoded.at("memory").shape()[1];
  const auto batch = batches_.find(tokens);
  if (batch == batches_.end())
    throw request_error("decoder_step: the plan does not accept " + std::to_string(tokens) +
                        " tokens; build the plans again with wider limits");
  const auto free = std::find(rows_.begin(), rows_.end(), nullptr);
  const auto number = static_cast<std::size_t>(free - rows_.begin());
  if (free == rows_.end()) rows_.emplace_back();
  rows_[number] = batch->second.join(encoded, noise);
  return number;
}

void EngineRows::leave(std::size_t row) noexcept {
  const std::unique_ptr<EngineRow> left = std::move(rows_[row]);
  left->batch->leave(*left);
}

void EngineRows::launch(const std::vector<Start>& rows) {
  std::vector<Launched> launched;
  for (auto& [tokens, batch] : batches_) {
    RowBatch::Starts own;
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EngineRow* const row = rows_[rows[i].row].get();
      if (row->batch != &batch) continue;
      own.emplace_back(row, rows[i].first_step);
      indices.push_back(i);
    }
    if (own.empty()) continue;
    Launched& part = launched.emplace_back(Launched{&batch, batch.launch(own), {}});
    for (std::size_t k = 0; k < own.size(); ++k) part.places.emplace_back(indices[k], own[k].first->place);
  }
  launched_.push_back(std::move(launched));
}

std::vector<RowSteps::Chunk> EngineRows::read() {
  const std::vector<Launched> launched = std::move(launched_.front());
  launched_.pop_front();
  std::vector<Chunk> chunks;
  for (const Launched& part : launched) {
    const DecoderSteps::Chunk whole = part.batch->read(part.parity);
    for (const auto& [index, place] : part.places) {
      chunks.resize(std::max(chunks.size(), index + 1));
      chunks[index] = chunk_of(whole, *part.batch, place);
    }
  }
  return chunks;
}

RowSteps::Chunk EngineRows::chunk_of(const DecoderSteps::Chunk& whole, const RowBatch& batch,
                                     std::int64_t place) const {
  const auto output = [&](const float* values, std::size_t width) -> Output {
    return {values + static_cast<std::size_t>(place) * width, static_cast<std::size_t>(batch.size()) * width};
  };
  return {output(whole.mel, step_size_), output(whole.gate_logits, 1),
          output(whole.attention_weights, static_cast<std::size_t>(batch.tokens()))};
}

}  // namespace tacoglow
