#include "fused_rows.hpp"

#include <algorithm>
#include <cstring>

namespace tacoglow {

FusedRowGroup::FusedRowGroup(const FusedDecoder& decoder, const FusedDecoder::Kernel& kernel, const Manifest& manifest,
                             std::int64_t tokens, std::int64_t chunk_steps, CudaStreamHandle stream)
    : buffers_(decoder, kernel, manifest, tokens, chunk_steps, stream),
      rows_(static_cast<std::size_t>(buffers_.items())),
      is_taken_(rows_.size()),
      table_(device_memory(table_bytes())) {
  for (std::int64_t item = 0; item < buffers_.items(); ++item) buffers_.clear_item(item);
  for (PinnedMemory& table : host_tables_) table = pinned_memory(table_bytes());
  // A chunk's arguments never change, and a graph costs the host a fraction of its calls.
  for (std::size_t slot = 0; slot < graphs_.size(); ++slot)
    graphs_[slot] = capture(buffers_.stream(), [&] { enqueue(slot); });
}

std::size_t FusedRowGroup::free_place() const {
  return static_cast<std::size_t>(std::find(is_taken_.begin(), is_taken_.end(), false) - is_taken_.begin());
}

void FusedRowGroup::join(std::size_t place, const Tensors& encoded, const Noise& noise, float gate_logit,
                         std::int64_t step_limit) {
  buffers_.reset(static_cast<std::int64_t>(place), encoded, 0, noise);
  rows_[place] = {0, static_cast<std::int32_t>(step_limit), gate_logit};
  is_taken_[place] = true;
}

std::size_t FusedRowGroup::launch(const std::vector<std::pair<std::size_t, std::int64_t>>& first_steps) {
  const std::size_t slot = launches_++ % FusedBuffers::n_slots;
  for (Row& row : rows_) row.first_step = row.end;
  for (const auto& [place, step] : first_steps) rows_[place].first_step = static_cast<std::int32_t>(step);
  std::memcpy(host_tables_[slot].get(), rows_.data(), table_bytes());
  if (const auto graph = graphs_[slot].get(); graph != nullptr)
    check_cuda(cuda_driver().cuGraphLaunch(graph, buffers_.stream()), "launch the fused decoder");
  else
    enqueue(slot);
  buffers_.record(slot);
  return slot;
}

void FusedRowGroup::enqueue(std::size_t slot) {
  copy(table_.get(), address_of(host_tables_[slot]), table_bytes(), buffers_.stream(), "copy the rows");
  buffers_.enqueue(slot, 0, 0.0F, table_.get());
}

RowSteps::Chunk FusedRowGroup::chunk_of(std::size_t slot, std::size_t place) const {
  const auto output = [&](FusedBuffers::Result result) -> RowSteps::Output {
    const std::size_t width = buffers_.width(result);
    return {buffers_.results(slot, result) + place * width, rows_.size() * width};
  };
  return {output(FusedBuffers::mel), output(FusedBuffers::gate_logits), output(FusedBuffers::attention_weights)};
}

FusedRows::FusedRows(const FusedDecoder& decoder, const Manifest& manifest, std::size_t max_rows,
                     std::int64_t chunk_steps, CudaStreamHandle stream)
    : decoder_(decoder), manifest_(manifest), max_rows_(max_rows), chunk_steps_(chunk_steps), stream_(stream) {
  do add_group();
  while (groups_.size() * size_ < max_rows);  // more, if rows rest
}

void FusedRows::add_group() {
  const std::int64_t tokens = manifest_.dimensions.at('T').max;  // rows of all buckets are in one group
  const FusedDecoder::Kernel& kernel = decoder_.kernel(static_cast<std::int64_t>(max_rows_), tokens);
  groups_.emplace_back(decoder_, kernel, manifest_, tokens, chunk_steps_, stream_);
  size_ = groups_.back().size();
}

std::size_t FusedRows::join(const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t step_limit) {
  std::size_t index = 0;
  while (index < groups_.size() && groups_[index].free_place() == size_) ++index;
  if (index == groups_.size()) add_group();
  const std::size_t place = groups_[index].free_place();
  groups_[index].join(place, encoded, noise, gate_logit, step_limit);
  return index * size_ + place;
}

void FusedRows::launch(const std::vector<Start>& rows) {
  Launched launched;
  for (const Start& start : rows) launched.rows.push_back(start.row);
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    std::vector<std::pair<std::size_t, std::int64_t>> first_steps;
    for (const Start& start : rows)
      if (start.row / size_ == i) first_steps.emplace_back(start.row % size_, start.first_step);
    if (!first_steps.empty()) launched.groups.emplace_back(i, groups_[i].launch(first_steps));
  }
  launched_.push_back(std::move(launched));
}

std::vector<RowSteps::Chunk> FusedRows::read() {
  const Launched launched = std::move(launched_.front());
  launched_.pop_front();
  for (const auto& [index, slot] : launched.groups) groups_[index].wait(slot);
  std::vector<Chunk> chunks;
  for (const std::size_t row : launched.rows)
    for (const auto& [index, slot] : launched.groups)
      if (index == row / size_) chunks.push_back(groups_[index].chunk_of(slot, row % size_));
  return chunks;
}

}  // namespace tacoglow
