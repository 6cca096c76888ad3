// Decoder steps on the GPU: each chunk of steps is one CUDA graph, and the host reads the gates one chunk late.
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

// Buffers, states and captured CUDA graphs for one batch size and token bucket. Reused by later utterances, because
// capturing enqueues every step of two chunks.
class CapturedSteps {
 public:
  static constexpr std::int64_t chunk_steps = 16;  // even, so that every chunk starts from the same state buffers
  static constexpr std::size_t n_slots = 2;        // chunks in flight

  // activations: of execution contexts on this stream. noise: what draws the dropout on the GPU; nullptr: the host
  // does.
  CapturedSteps(const Plan& plan, const Manifest& manifest, const Dims& dims, CudaStreamHandle stream,
                const DeviceMemory& activations, const DeviceNoise* noise);

  // Prepares for the first step of a batch: zeroes the states and uploads the encoder outputs.
  void reset(const Tensors& encoded, std::vector<Noise> noises);
  void launch(std::size_t slot, std::int64_t first_step);
  DecoderSteps::Chunk read(std::size_t slot);

 private:
  // Inputs and outputs of one chunk. On the device, each step's part begins at a multiple of `alignment`.
  struct Slot {
    DeviceMemory dropout, mel, gate, attention;
    PinnedMemory host_items, host_dropout, host_mel, host_gate, host_attention;
    CudaEvent done;
    CudaGraph graph;  // empty if the steps cannot be captured
  };

  void allocate(const Dims& dims);
  void enqueue_dropout(std::size_t slot, std::int64_t first_step);
  void enqueue_step(std::size_t slot, std::int64_t step);
  void enqueue_chunk(std::size_t slot);
  CudaAddress mel_before(std::size_t slot, std::int64_t step) const;

  const Plan& plan_;
  const Manifest& manifest_;
  CudaStreamHandle stream_;
  ExecutionContext context_;
  const DeviceNoise* device_noise_;
  std::vector<Noise> noises_;                    // of the items
  DeviceMemory items_;                           // DeviceNoise::Item of each
  std::string mel_state_;                        // input that mel_frame feeds; it is read from the slots
  std::map<std::string, DeviceMemory> encoded_;  // memory, processed_memory, memory_mask
  std::array<std::map<std::string, DeviceMemory>, 2>
      states_;  // without mel_state_; even steps read set 0 and write set 1
  std::map<std::string, std::size_t> state_bytes_;
  std::array<Slot, n_slots> slots_;
  std::string attention_state_;                                           // input that attention_output feeds
  std::size_t dropout_bytes_, mel_bytes_, gate_bytes_, attention_bytes_;  // per step
};

class TensorRTSteps : public DecoderSteps {
 public:
  TensorRTSteps(CapturedSteps& captured, DecoderInput input) : captured_(captured) {
    captured_.reset(input.encoded, std::move(input.noises));
  }

  std::int64_t chunk_steps() const override { return CapturedSteps::chunk_steps; }
  std::int64_t launches_in_flight() const override { return static_cast<std::int64_t>(CapturedSteps::n_slots); }
  void launch() override;
  Chunk read() override { return captured_.read(read_++ % CapturedSteps::n_slots); }

 private:
  CapturedSteps& captured_;
  std::size_t launched_ = 0, read_ = 0;
};

}  // namespace tacoglow
