// Rows that join and leave the fused decoder's running batch: each has a place in a group, which is one launch.
#pragma once

#include <array>
#include <deque>
#include <utility>
#include <vector>

#include "fused_decoder.hpp"

namespace tacoglow {

// A kernel's items, which join one by one.
class FusedRowGroup {
 public:
  FusedRowGroup(const FusedDecoder& decoder, const FusedDecoder::Kernel& kernel, const Manifest& manifest,
                std::int64_t tokens, std::int64_t chunk_steps, CudaStreamHandle stream);

  // Returns a place that no row has; size() if there is none.
  std::size_t free_place() const;
  void join(std::size_t place, const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t step_limit);
  void leave(std::size_t place) noexcept { is_taken_[place] = false; }
  // Launches the places that take part, from their first steps; returns the chunk's slot.
  std::size_t launch(const std::vector<std::pair<std::size_t, std::int64_t>>& first_steps);
  // Waits for a chunk.
  void wait(std::size_t slot) const { buffers_.wait(slot); }
  RowSteps::Chunk chunk_of(std::size_t slot, std::size_t place) const;

  std::size_t size() const { return rows_.size(); }

 private:
  // The kernel's Row. Steps are its own, and one that is at its end does not take part.
  struct Row {
    std::int32_t first_step, end;
    float gate_logit;
  };

  void enqueue(std::size_t slot);
  std::size_t table_bytes() const { return rows_.size() * sizeof(Row); }

  FusedBuffers buffers_;
  std::vector<Row> rows_;       // by place
  std::vector<bool> is_taken_;  // likewise
  DeviceMemory table_;          // the kernel's copy of rows_
  std::array<PinnedMemory, FusedBuffers::n_slots> host_tables_;
  std::array<CudaGraph, FusedBuffers::n_slots> graphs_;  // empty if a chunk cannot be captured
  std::size_t launches_ = 0;
};

// Rows in groups of as many as a kernel decodes; a group is made when the others are full.
class FusedRows : public RowSteps {
 public:
  FusedRows(const FusedDecoder& decoder, const Manifest& manifest, std::size_t max_rows, std::int64_t chunk_steps,
            CudaStreamHandle stream);

  std::size_t max_rows() const override { return max_rows_; }
  std::int64_t chunk_steps() const override { return chunk_steps_; }
  // The kernel's items have no part in each other.
  std::vector<std::vector<std::int64_t>> checked_batches() const override { return {}; }
  std::size_t join(const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t step_limit) override;
  void leave(std::size_t row) noexcept override { group_of(row).leave(row % size_); }
  void launch(const std::vector<Start>& rows) override;
  std::vector<Chunk> read() override;

 private:
  struct Launched {
    std::vector<std::size_t> rows;                            // in the order of `launch`
    std::vector<std::pair<std::size_t, std::size_t>> groups;  // by index, and the slot of each
  };

  FusedRowGroup& group_of(std::size_t row) { return groups_[row / size_]; }
  void add_group();

  const FusedDecoder& decoder_;
  const Manifest& manifest_;
  std::size_t max_rows_, size_ = 0;  // size: rows of a group
  std::int64_t chunk_steps_;
  CudaStreamHandle stream_;
  std::deque<FusedRowGroup> groups_;
  std::deque<Launched> launched_;
};

}  // namespace tacoglow
