#include "shared_rows.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "encoder.hpp"

namespace tacoglow::scheduling {
namespace {

// Copies the part of a state [1, N] that fits into a row of a state [B, M]: only states over tokens have another width,
// and are zero at the padding.
void copy_row(const Tensor& state, Tensor& stacked, std::size_t row) {
  const std::size_t width = stacked.size_bytes() / static_cast<std::size_t>(stacked.shape()[0]);
  auto* target = static_cast<unsigned char*>(stacked.data()) + row * width;
  std::memcpy(target, state.data(), std::min(width, state.size_bytes()));
}

// Returns a row of a state [B, N] as [1, N].
Tensor take_row(const Tensor& stacked, std::size_t row) {
  Shape shape = stacked.shape();
  shape[0] = 1;
  Tensor state(stacked.dtype(), shape);
  std::memcpy(state.data(), static_cast<const unsigned char*>(stacked.data()) + row * state.size_bytes(),
              state.size_bytes());
  return state;
}

}  // namespace

std::vector<std::vector<std::int64_t>> SharedRows::checked_batches() const {
  const std::int64_t longest = manifest_.dimensions.at('T').max;
  const std::int64_t lengths[] = {std::min<std::int64_t>(5, longest), longest, std::min<std::int64_t>(9, longest)};
  std::vector<std::vector<std::int64_t>> checked;
  for (const std::size_t n_rows : std::set<std::size_t>{2, 3, max_rows_}) {
    if (n_rows > max_rows_) continue;
    std::vector<std::int64_t>& batch = checked.emplace_back();
    for (std::size_t i = 0; i < n_rows; ++i) batch.push_back(lengths[i % std::size(lengths)]);
  }
  return checked;
}

std::shared_ptr<Row> SharedRows::open(DecodedItem item, std::shared_ptr<const Tensors> encoded) {
  auto row = std::make_shared<Row>(std::move(item), std::move(encoded));
  row->item.reserve(manifest_);
  return row;
}

void SharedRows::advance(const Rows& rows, std::int64_t n_steps) {
  if (!is_permutation(rows)) regroup(rows);
  const std::int64_t step_size = manifest_.frames_per_step * manifest_.n_mel_channels;
  for (bool has_ended = false; n_steps > 0 && !has_ended; --n_steps) {
    steps_->launch();
    const DecoderSteps::Chunk chunk = steps_->read();
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const auto index = static_cast<std::int64_t>(i);
      rows_[i]->item.append(chunk.mel + index * step_size, chunk.gate_logits[i],
                            chunk.attention_weights + index * padded_tokens_, manifest_);
      has_ended = has_ended || rows_[i]->item.decoded.finished;
    }
  }
}

bool SharedRows::is_permutation(const Rows& rows) const {
  return rows.size() == rows_.size() && std::is_permutation(rows.begin(), rows.end(), rows_.begin());
}

// Makes `rows` the running batch.
void SharedRows::regroup(const Rows& rows) {
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i]->item.decoded.finished) continue;
    for (const auto& [name, state] : steps_->states()) rows_[i]->states[name] = take_row(state, i);
    rows_[i]->reached = steps_->reached(i);
  }
  rows_.clear();  // unless the new steps start, there is no running batch
  steps_ = start(rows);
  rows_ = rows;
}

std::unique_ptr<HostSteps> SharedRows::start(const Rows& rows) {
  DecoderInput input{};
  std::vector<const Tensors*> encoded;
  padded_tokens_ = 0;
  for (const auto& row : rows) {
    padded_tokens_ = std::max(padded_tokens_, row->bucket());
    encoded.push_back(row->encoded.get());
    input.noises.push_back(row->item.noise);
    input.attention_windows.push_back(row->item.options.attention_window);
    input.before.steps.push_back(row->step());
    input.before.reached.push_back(row->reached);
  }
  input.encoded = pad_and_stack(encoded, padded_tokens_);
  const Dims dims = {{'B', static_cast<std::int64_t>(rows.size())}, {'T', padded_tokens_}};
  for (const auto& [source, target] : manifest_.states) {
    const TensorSpec& spec = manifest_.graphs.at("decoder_step").tensor(source);
    Tensor& stacked = input.before.states[source] = Tensor(spec.dtype, spec.resolve(dims));
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (!rows[i]->states.empty()) copy_row(rows[i]->states.at(source), stacked, i);
  }
  return backend_.start_on_host(std::move(input));
}

}  // namespace tacoglow::scheduling
