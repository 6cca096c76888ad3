// Rows that share decoder steps on a device, which always has a chunk launched while the host reads the one before.
#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "rows.hpp"

namespace tacoglow::scheduling {

// Only a row whose attention is restricted to a window is decoded by itself: the window moves between two steps.
class DeviceRows : public RowDecoder {
 public:
  DeviceRows(const Manifest& manifest, BackendInstance& backend, std::unique_ptr<RowSteps> steps)
      : manifest_(manifest), backend_(backend), steps_(std::move(steps)) {}

  std::size_t max_rows() const override { return steps_->max_rows(); }
  std::size_t openings() const override { return 4; }
  std::vector<std::vector<std::int64_t>> checked_batches() const override { return steps_->checked_batches(); }
  std::shared_ptr<Row> open(DecodedItem item, std::shared_ptr<const Tensors> encoded) override;
  void advance(const Rows& rows, std::int64_t n_steps) override;

 private:
  void free_places();
  void launch(const Rows& rows);
  void read();

  const Manifest& manifest_;
  BackendInstance& backend_;  // of the steps, and of rows with a window
  std::unique_ptr<RowSteps> steps_;
  std::vector<std::pair<std::size_t, std::weak_ptr<Row>>> joined_;  // by number, until they have left the steps
  std::deque<Rows> unread_;                                         // rows of each chunk that is launched
};

}  // namespace tacoglow::scheduling
