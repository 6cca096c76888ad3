// Rows that share an engine's decoder steps: a batch for each token bucket, which rows join and leave between chunks.
//
// An engine advances every item that it runs, so a row that does not take part in a chunk is not in its batch: its
// states are copied, on the GPU, to memory of its own and back. A batch has a CUDA graph for one, two, four, … items.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tensorrt_steps.hpp"

namespace tacoglow {

class RowBatch;

// A row's own memory, of the size of an item's.
struct RowMemory {
  DeviceMemory block;
  ChunkBuffers::Item parts;
};

struct EngineRow {
  RowBatch* batch;
  Noise noise;
  RowMemory memory;         // its states, while it has no place, and its encoder outputs
  std::int64_t place = -1;  // in the batch; -1: none
};

// The rows of one token bucket.
class RowBatch {
 public:
  using Starts = std::vector<std::pair<EngineRow*, std::int64_t>>;  // rows and their first steps

  // counts: numbers of rows that a chunk can consist of, ascending.
  RowBatch(const Plan& plan, const Manifest& manifest, std::int64_t tokens, std::int64_t chunk_steps,
           const std::vector<std::int64_t>& counts, CudaStreamHandle stream, const DeviceMemory& activations,
           const DeviceNoise* noise);

  std::unique_ptr<EngineRow> join(const Tensors& encoded, const Noise& noise);
  void leave(EngineRow& row) noexcept;
  // Launches a chunk of these rows; returns its parity.
  std::size_t launch(const Starts& rows);
  DecoderSteps::Chunk read(std::size_t parity) const { return buffers_.read(parity); }

  std::int64_t size() const { return static_cast<std::int64_t>(places_.size()); }
  std::int64_t tokens() const { return tokens_; }

 private:
  RowMemory allocate() const;
  void arrange(const Starts& rows);
  void copy_parts(const ChunkBuffers::Parts& target, const ChunkBuffers::Parts& source) const;

  CudaStreamHandle stream_;
  std::int64_t tokens_;
  ChunkBuffers buffers_;
  std::vector<ChunkBuffers::Item> items_;  // by place
  std::vector<EngineRow*> places_;
  std::vector<RowMemory> idle_;  // of rows that have left
  std::size_t n_allocated_ = 0, launches_ = 0;
};

class EngineRows : public RowSteps {
 public:
  EngineRows(const Plan& plan, const Manifest& manifest, std::size_t max_rows, std::int64_t chunk_steps,
             CudaStreamHandle stream, const DeviceMemory& activations, const DeviceNoise* noise);

  std::size_t max_rows() const override { return max_rows_; }
  std::int64_t chunk_steps() const override { return chunk_steps_; }
  std::vector<std::vector<std::int64_t>> checked_batches() const override;
  std::size_t join(const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t step_limit) override;
  void leave(std::size_t row) noexcept override;
  void launch(const std::vector<Start>& rows) override;
  std::vector<Chunk> read() override;

 private:
  // A batch's part of a launched chunk. places: of rows, by their index in `launch`
  struct Launched {
    const RowBatch* batch;
    std::size_t parity;
    std::vector<std::pair<std::size_t, std::int64_t>> places;
  };

  Chunk chunk_of(const DecoderSteps::Chunk& whole, const RowBatch& batch, std::int64_t place) const;

  std::size_t step_size_;  // values of a step's frames
  std::int64_t chunk_steps_;
  std::size_t max_rows_;
  std::map<std::int64_t, RowBatch> batches_;      // by token bucket
  std::vector<std::unique_ptr<EngineRow>> rows_;  // by number; nullptr: it is free
  std::deque<std::vector<Launched>> launched_;
};

}  // namespace tacoglow
