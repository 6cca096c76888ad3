// Rows with a batch each. All of them are launched before any is waited for.
#pragma once

#include <memory>
#include <vector>

#include "rows.hpp"

namespace tacoglow::scheduling {

// Decodes towards n_steps more steps of rows with a batch of their own.
void advance_separately(const Rows& rows, std::int64_t n_steps);

class IdleInstances;

// Rows with a batch and a backend instance each, where a batch would change them.
class SeparateRows : public RowDecoder {
 public:
  SeparateRows(const Voice& voice, std::size_t max_rows);

  std::size_t max_rows() const override { return max_rows_; }
  std::vector<std::vector<std::int64_t>> checked_batches() const override { return {}; }
  std::shared_ptr<Row> open(DecodedItem item, std::shared_ptr<const Tensors> encoded) override;
  void advance(const Rows& rows, std::int64_t n_steps) override { advance_separately(rows, n_steps); }

 private:
  const Voice& voice_;
  std::size_t max_rows_;
  std::shared_ptr<IdleInstances> idle_;
};

}  // namespace tacoglow::scheduling
