#include "device_rows.hpp"

#include <algorithm>

#include "separate_rows.hpp"

namespace tacoglow::scheduling {

std::shared_ptr<Row> DeviceRows::open(DecodedItem item, std::shared_ptr<const Tensors> encoded) {
  free_places();
  auto row = std::make_shared<Row>(std::move(item), std::move(encoded));
  if (row->item.options.attention_window > 0) {
    row->decoding =
        std::make_unique<Decoding>(backend_, manifest_, *row->encoded, std::vector<DecodedItem*>{&row->item});
    return row;
  }
  row->item.reserve(manifest_);
  joined_.reserve(joined_.size() + 1);  // so that a row which has joined is known to have
  row->number =
      steps_->join(*row->encoded, row->item.noise, row->item.options.gate_logit(), row->item.step_limit(manifest_));
  joined_.emplace_back(row->number, row);
  return row;
}

// Takes rows out of the steps that have ended, or that nobody wants any more.
void DeviceRows::free_places() {
  const auto has_ended = [this](const auto& joined) {
    const std::shared_ptr<Row> row = joined.second.lock();
    if (row && row->is_running()) return false;
    steps_->leave(joined.first);
    return true;
  };
  joined_.erase(std::remove_if(joined_.begin(), joined_.end(), has_ended), joined_.end());
}

void DeviceRows::advance(const Rows& rows, std::int64_t n_steps) {
  free_places();
  Rows separate, running;
  for (const auto& row : rows) {
    if (row->decoding)
      separate.push_back(row);
    else if (row->is_running() && row->launched < row->item.step_limit(manifest_))
      running.push_back(row);
  }
  const bool has_begun = !unread_.empty();
  if (!running.empty()) launch(running);
  advance_separately(separate, n_steps);  // beside what is launched
  if (has_begun) read();
}

void DeviceRows::launch(const Rows& rows) {
  const std::size_t n_unread = unread_.size();
  try {
    std::vector<RowSteps::Start> starts;
    for (const auto& row : rows) starts.push_back({row->number, row->launched});
    unread_.push_back(rows);
    steps_->launch(starts);
  } catch (...) {
    for (const auto& row : rows) row->failure = std::current_exception();
    unread_.resize(n_unread);
    return;
  }
  for (const auto& row : rows) row->launched += steps_->chunk_steps();
}

// Appends the oldest chunk that is launched to its rows.
void DeviceRows::read() {
  const Rows rows = std::move(unread_.front());
  unread_.pop_front();
  try {
    const std::vector<RowSteps::Chunk> chunks = steps_->read();
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (std::int64_t step = 0; step < steps_->chunk_steps() && rows[i]->is_running(); ++step) {
        const auto& [mel, gate_logits, attention] = chunks[i];
        rows[i]->item.append(mel.at(step), *gate_logits.at(step), attention.at(step), manifest_);
      }
  } catch (...) {
    for (const auto& row : rows)
      if (row->is_running()) row->failure = std::current_exception();
  }
}

}  // namespace tacoglow::scheduling
