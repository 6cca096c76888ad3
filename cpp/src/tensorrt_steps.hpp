// Decoder steps on the GPU: each chunk of steps is one CUDA graph, over memory in which its items have places, and the
// host reads the gates one chunk late.
#pragma once

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "backend.hpp"
#include "cuda_noise.hpp"
#include "tensorrt_graph.hpp"

namespace tacoglow {

// A tensor's memory on the GPU for several steps, each with an aligned part for all items of a batch.
class Slots {
 public:
  Slots(std::int64_t count, std::int64_t batch, std::size_t item_bytes);

  // Returns the address of a step's part; -1 is the last step's, and they are used in turn.
  CudaAddress operator[](std::int64_t step) const;
  std::size_t bytes() const { return batch_ * item_bytes_; }  // of a step's part
  std::size_t item_bytes() const { return item_bytes_; }
  std::size_t pitch() const { return pitch_; }  // bytes from one part to the next

 private:
  std::size_t count_, batch_, item_bytes_, pitch_;
  DeviceMemory memory_;
};

// The memory for chunks of one batch size and token bucket, and the captured CUDA graphs that run a chunk in it. Reused
// by later utterances, because capturing enqueues every step.
//
// Host memory exists twice, by parity of the chunk: the host reads or fills one set while the GPU uses the other.
class ChunkBuffers {
 public:
  static constexpr std::size_t n_parities = 2;
  using Parities = std::array<PinnedMemory, n_parities>;
  // An item that takes part in a chunk.
  struct Start {
    std::int64_t place;
    Noise noise;
    std::int64_t first_step;
  };
  struct Part {
    CudaAddress address;
    std::size_t bytes;
  };
  using Parts = std::map<std::string, Part>;
  // Memory of one item: its states between two chunks, and its encoder outputs; by the name of decoder_step's input.
  struct Item {
    Parts states, encoded;
  };

  // steps: of a chunk; even, so that every chunk starts from the same slots. counts: numbers of items, the first ones
  // of the batch, that a chunk can consist of, ascending. activations: of execution contexts on this stream. noise:
  // what draws the dropout on the GPU; nullptr: the host does.
  ChunkBuffers(const Plan& plan, const Manifest& manifest, const Dims& dims, std::int64_t steps,
               const std::vector<std::int64_t>& counts, CudaStreamHandle stream, const DeviceMemory& activations,
               const DeviceNoise* noise);

  // Prepares for the first step of a whole batch: zeroes the states and uploads the encoder outputs.
  void reset(const Tensors& encoded);
  Item item(std::int64_t place) const;
  // Returns how many items a chunk of at least so many has.
  std::int64_t fitting(std::int64_t items) const { return run_for(items).count; }

  // Enqueues a chunk of these items, and of whatever is in the places between them.
  void launch(const std::vector<Start>& items, std::size_t parity);
  // Waits for a chunk: of all places, valid until the next launch of this parity.
  DecoderSteps::Chunk read(std::size_t parity) const;

 private:
  // A chunk of the first `count` items. An execution context belongs to one shape.
  struct Run {
    std::int64_t count;
    ExecutionContext context;
    CudaGraph graph;  // empty if the steps cannot be captured
  };

  Slots slots(const std::string& tensor, std::int64_t count) const;
  Parities pinned(std::size_t bytes) const { return {pinned_memory(bytes), pinned_memory(bytes)}; }
  Run make_run(std::int64_t count, const DeviceMemory& activations);
  const Run& run_for(std::int64_t items) const;
  void enqueue_dropout(const std::vector<Start>& items, std::int64_t count, std::size_t parity);
  void enqueue_step(const Run& run, std::int64_t step);
  void enqueue_chunk(const Run& run);

  const Plan& plan_;
  const Manifest& manifest_;
  Dims dims_;
  std::int64_t steps_;
  CudaStreamHandle stream_;
  const DeviceNoise* device_noise_;
  // Step i reads slot i - 1 and writes slot i. States that only feed the next step have two slots.
  std::map<std::string, Slots> outputs_;
  Slots dropout_;
  std::map<std::string, DeviceMemory> encoded_;  // memory, processed_memory, memory_mask
  DeviceMemory drawn_;                           // DeviceNoise::Item of each item
  Parities host_drawn_, host_dropout_;
  std::map<std::string, Parities> results_;  // of the outputs that the host reads; of each [steps, B, ...]
  std::array<CudaEvent, n_parities> done_;
  std::vector<Run> runs_;
};

class TensorRTSteps : public DecoderSteps {
 public:
  static constexpr std::int64_t steps = 16;  // of a chunk

  TensorRTSteps(ChunkBuffers& buffers, const DecoderInput& input);

  std::int64_t chunk_steps() const override { return steps; }
  std::int64_t launches_in_flight() const override { return static_cast<std::int64_t>(ChunkBuffers::n_parities); }
  void launch() override;
  Chunk read() override { return buffers_.read(read_++ % ChunkBuffers::n_parities); }

 private:
  ChunkBuffers& buffers_;
  std::vector<ChunkBuffers::Start> next_;  // of each item
  std::size_t launched_ = 0, read_ = 0;
};

}  // namespace tacoglow
