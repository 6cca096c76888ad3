// The fused decoder, runtime/backends/cuda/kernels/fused_decoder.cu: its kernels on one GPU, and the memory of a
// launch.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "backend.hpp"
#include "cuda.hpp"
#include "kernel_package.hpp"

namespace tacoglow {

// A package's kernels, loaded on one GPU. Not changed afterwards, so that threads can share it.
class FusedDecoder {
 public:
  struct Kernel {
    FusedKernel plan;
    CudaModule module;
    CudaFunctionHandle function;
  };

  // folder: of the package, for messages. Throws Error (backend) if the GPU cannot run it.
  FusedDecoder(FusedPackage package, std::filesystem::path folder, const Gpu& gpu);

  // The smallest kernel for these items and tokens, or that for the most items, if there are more.
  const Kernel& kernel(std::int64_t items, std::int64_t tokens) const;
  CudaAddress weights() const { return weights_.get(); }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  void load(FusedKernel plan, int multiprocessors);

  std::filesystem::path folder_;
  std::vector<Kernel> kernels_;
  DeviceMemory weights_;
};

// The memory of as many items as a kernel takes: the encoder's output for them, their states and results; and, twice,
// the results in pinned memory.
class FusedBuffers {
 public:
  static constexpr std::size_t n_slots = 2;  // chunks in flight
  enum Result { mel, gate_logits, attention_weights, n_results };

  // steps: of a chunk.
  FusedBuffers(const FusedDecoder& decoder, const FusedDecoder::Kernel& kernel, const Manifest& manifest,
               std::int64_t tokens, std::int64_t steps, CudaStreamHandle stream);

  std::int64_t items() const { return kernel_.plan.batch; }
  std::int64_t tokens() const { return tokens_; }
  CudaStreamHandle stream() const { return stream_; }

  // Enqueue preparations for the first step of an item, from tensors [B, T, ...], T at most tokens().
  void reset(std::int64_t item, const Tensors& encoded, std::int64_t row, const Noise& noise);
  // Prepares an item that takes part in no launch before it is reset.
  void clear_item(std::int64_t item);

  // Enqueue a chunk and the copy of its results. rows: of the kernel's rows with steps of their own, and then the first
  // step and the gate are without meaning; 0: there are none.
  void enqueue(std::size_t slot, std::int64_t first_step, float gate_logit, CudaAddress rows);
  // Marks the end of a chunk, which `wait` waits for.
  void record(std::size_t slot);
  void wait(std::size_t slot) const;

  // A chunk's results, [steps, items(), width].
  const float* results(std::size_t slot, Result result) const {
    return static_cast<const float*>(slots_[slot].results[result].get());
  }
  std::size_t width(Result result) const { return widths_[result]; }

 private:
  static constexpr std::size_t n_states = 7;
  struct Slot {
    std::array<PinnedMemory, n_results> results;
    CudaEvent done;
  };

  std::size_t result_bytes(Result result) const;
  void upload(CudaAddress target, const void* source, std::size_t bytes) const;

  const FusedDecoder& decoder_;
  const FusedDecoder::Kernel& kernel_;
  std::int64_t tokens_, steps_;
  CudaStreamHandle stream_;
  std::size_t memory_bytes_, processed_bytes_;  // of an item
  DeviceMemory memory_, processed_, lengths_, keys_, progress_, workspace_;
  std::array<DeviceMemory, n_states> states_;
  std::array<std::size_t, n_states> state_bytes_;  // of an item
  std::array<std::size_t, n_results> widths_;
  std::array<DeviceMemory, n_results> results_;
  std::array<Slot, n_slots> slots_;
};

}  // namespace tacoglow
