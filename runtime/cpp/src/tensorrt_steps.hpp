// The decoder loop on the GPU: a chunk of steps is one CUDA graph, and the host reads the gates one chunk late.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "backend.hpp"
#include "tensorrt_graph.hpp"

namespace tacoglow {

// Everything that the loop needs for one size of batch and one number of tokens: buffers, states, captured graphs. Kept
// between utterances, since capturing runs through every step of two launches.
class CapturedSteps {
 public:
  static constexpr std::int64_t chunk_steps = 16;  // a launch; even, so that the states end where they began
  static constexpr std::size_t n_slots = 2;        // launches in flight

  CapturedSteps(const Plan& plan, const Manifest& manifest, const Dims& dims, cudaStream_t stream);

  // Begin an utterance: states at zero.
  void reset(const Tensors& encoded);
  void launch(std::size_t slot, const float* dropout);
  DecoderSteps::Chunk read(std::size_t slot);

 private:
  // What a launch reads and writes; a step's part of a row begins at a multiple of `alignment`.
  struct Slot {
    DeviceMemory dropout, mel, gate;
    PinnedMemory host_dropout, host_mel, host_gate;
    CudaEvent done;
    CudaGraph graph;
  };

  void allocate(const Dims& dims);
  void enqueue_step(std::size_t slot, std::int64_t step);
  void enqueue_chunk(std::size_t slot);
  void capture(std::size_t slot);
  void* mel_before(std::size_t slot, std::int64_t step) const;

  const Plan& plan_;
  const Manifest& manifest_;
  cudaStream_t stream_;
  ExecutionContext context_;
  std::string mel_state_;                                      // the state that mel_frame becomes
  std::map<std::string, DeviceMemory> encoded_;                // memory, processed_memory, memory_mask
  std::array<std::map<std::string, DeviceMemory>, 2> states_;  // but for mel_state_; even steps read set 0
  std::map<std::string, std::size_t> state_bytes_;
  std::array<Slot, n_slots> slots_;
  std::size_t dropout_bytes_, mel_bytes_, gate_bytes_;  // of one step
};

class TensorRTSteps : public DecoderSteps {
 public:
  TensorRTSteps(CapturedSteps& captured, const Tensors& encoded) : captured_(captured) { captured_.reset(encoded); }

  std::int64_t chunk_steps() const override { return CapturedSteps::chunk_steps; }
  std::int64_t launches_in_flight() const override { return static_cast<std::int64_t>(CapturedSteps::n_slots); }
  void launch(const float* dropout) override { captured_.launch(launched_++ % CapturedSteps::n_slots, dropout); }
  Chunk read() override { return captured_.read(read_++ % CapturedSteps::n_slots); }

 private:
  CapturedSteps& captured_;
  std::size_t launched_ = 0, read_ = 0;
};

}  // namespace tacoglow
