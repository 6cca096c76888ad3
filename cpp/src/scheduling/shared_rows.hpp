// Rows that share decoder steps on the host.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "host_steps.hpp"
#include "rows.hpp"

namespace tacoglow::scheduling {

// A row keeps its own step number, by which its dropout is drawn, and its own states, which are copied out and in
// whenever the set of rows changes.
class SharedRows : public RowDecoder {
 public:
  SharedRows(const Manifest& manifest, BackendInstance& backend, std::size_t max_rows)
      : manifest_(manifest), backend_(backend), max_rows_(max_rows) {}

  std::size_t max_rows() const override { return max_rows_; }
  std::vector<std::vector<std::int64_t>> checked_batches() const override;
  std::shared_ptr<Row> open(DecodedItem item, std::shared_ptr<const Tensors> encoded) override;
  void advance(const Rows& rows, std::int64_t n_steps) override;

 private:
  bool is_permutation(const Rows& rows) const;
  void regroup(const Rows& rows);
  std::unique_ptr<HostSteps> start(const Rows& rows);

  const Manifest& manifest_;
  BackendInstance& backend_;
  std::size_t max_rows_;
  Rows rows_;  // the running batch
  std::unique_ptr<HostSteps> steps_;
  std::int64_t padded_tokens_ = 0;
};

}  // namespace tacoglow::scheduling
