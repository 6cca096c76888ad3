// The decoder steps of a batch on the fused decoder: a chunk is one launch, read one chunk late.
#pragma once

#include <array>
#include <vector>

#include "fused_decoder.hpp"

namespace tacoglow {

// Up to as many items of a batch as a kernel takes. A kernel for more items gets the last one several times; what an
// item speaks does not depend on the others.
class FusedGroup {
 public:
  static constexpr std::int64_t chunk_steps = 64;  // a launch costs about what four steps do

  FusedGroup(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims, CudaStreamHandle stream);

  // Prepares for the first step of items first, first + 1, … of a batch.
  void reset(const DecoderInput& input, std::int64_t first);
  void launch(std::size_t slot, std::int64_t first_step);

  std::int64_t items() const { return items_; }
  const FusedBuffers& buffers() const { return buffers_; }  // their first items() are the batch's

 private:
  FusedBuffers buffers_;
  std::int64_t items_;
  float gate_logit_ = 0;
};

// All items of batches of one size and token bucket, in groups. Reused by later utterances.
using FusedGroups = std::vector<FusedGroup>;
FusedGroups make_groups(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims,
                        CudaStreamHandle stream);

class FusedSteps : public DecoderSteps {
 public:
  FusedSteps(FusedGroups& groups, const DecoderInput& input);

  std::int64_t chunk_steps() const override { return FusedGroup::chunk_steps; }
  std::int64_t launches_in_flight() const override { return static_cast<std::int64_t>(FusedBuffers::n_slots); }
  void launch() override;
  Chunk read() override;

 private:
  void gather(std::size_t slot, FusedBuffers::Result result);

  FusedGroups& groups_;
  std::size_t launched_ = 0, read_ = 0;
  std::array<std::vector<float>, FusedBuffers::n_results> chunk_;
};

}  // namespace tacoglow
