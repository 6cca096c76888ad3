// Decoder steps on the fused decoder, runtime/backends/cuda/kernels/fused_decoder.cu: a chunk is one launch, read one
// chunk late.
#pragma once

#include <algorithm>
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

// Up to as many items as a kernel takes: the encoder's output for them, their states and results. A kernel for more
// items gets the last one several times; what an item speaks does not depend on the others.
class FusedGroup {
 public:
  static constexpr std::int64_t chunk_steps = 64;  // a launch costs about what four steps do
  static constexpr std::size_t n_slots = 2;        // chunks in flight

  FusedGroup(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims, CudaStreamHandle stream);

  // Prepares for the first step of items first, first + 1, … of a batch.
  void reset(const DecoderInput& input, std::size_t first);
  void launch(std::size_t slot, std::int64_t first_step);
  // Waits for a launch.
  void wait(std::size_t slot);

  std::int64_t items() const { return items_; }
  // A chunk's results; rows of [chunk_steps, rows(), width], of which the first items() are the batch's.
  enum Result { mel, gate_logits, attention_weights, n_results };
  const float* results(std::size_t slot, Result result) const;
  std::int64_t rows() const { return kernel_.plan.batch; }
  std::size_t width(Result result) const { return widths_[result]; }

 private:
  static constexpr std::size_t n_states = 7;
  struct Slot {
    std::array<PinnedMemory, n_results> results;
    CudaEvent done;
  };

  // The source must stay as it is until the stream has come to the copy.
  template <typename T>
  void upload(const DeviceMemory& target, const std::vector<T>& source);
  std::vector<char> rows_of(const Tensor& tensor, std::size_t first) const;
  // Which of its items a row of the kernel decodes.
  std::size_t item_of(std::int64_t row) const { return static_cast<std::size_t>(std::min(row, items_ - 1)); }
  std::size_t result_bytes(Result result) const;

  const FusedDecoder& decoder_;
  const FusedDecoder::Kernel& kernel_;
  CudaStreamHandle stream_;
  std::int64_t items_, tokens_;
  float gate_logit_ = 0;
  DeviceMemory memory_, processed_, lengths_, keys_, progress_, workspace_;
  std::array<DeviceMemory, n_states> states_;
  std::array<std::size_t, n_states> state_bytes_;
  std::array<std::size_t, n_results> widths_;
  std::array<DeviceMemory, n_results> results_;
  std::array<Slot, n_slots> slots_;
};

// All items of batches of one size and token bucket, in groups. Reused by later utterances.
using FusedGroups = std::vector<FusedGroup>;
FusedGroups make_groups(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims,
                        CudaStreamHandle stream);

class FusedSteps : public DecoderSteps {
 public:
  FusedSteps(FusedGroups& groups, const DecoderInput& input);

  std::int64_t chunk_steps() const override { return FusedGroup::chunk_steps; }
  std::int64_t launches_in_flight() const override { return static_cast<std::int64_t>(FusedGroup::n_slots); }
  void launch() override;
  Chunk read() override;

 private:
  void gather(std::size_t slot, FusedGroup::Result result);

  FusedGroups& groups_;
  std::size_t launched_ = 0, read_ = 0;
  std::array<std::vector<float>, FusedGroup::n_results> chunk_;
};

}  // namespace tacoglow
