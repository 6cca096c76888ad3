#include "fused_steps.hpp"

#include <algorithm>

namespace tacoglow {

FusedGroup::FusedGroup(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims, CudaStreamHandle stream)
    : buffers_(decoder, decoder.kernel(dims.at('B'), dims.at('T')), manifest, dims.at('T'), chunk_steps, stream),
      items_(std::min(dims.at('B'), buffers_.items())) {}

void FusedGroup::reset(const DecoderInput& input, std::int64_t first) {
  gate_logit_ = input.gate_logit;
  for (std::int64_t item = 0; item < buffers_.items(); ++item) {
    const std::int64_t row = first + std::min(item, items_ - 1);
    buffers_.reset(item, input.encoded, row, input.noises[static_cast<std::size_t>(row)]);
  }
}

void FusedGroup::launch(std::size_t slot, std::int64_t first_step) {
  buffers_.enqueue(slot, first_step, gate_logit_, 0);
  buffers_.record(slot);
}

FusedGroups make_groups(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims,
                        CudaStreamHandle stream) {
  FusedGroups groups;
  for (std::int64_t left = dims.at('B'); left > 0; left -= groups.back().items())
    groups.emplace_back(decoder, manifest, Dims{{'B', left}, {'T', dims.at('T')}}, stream);
  return groups;
}

FusedSteps::FusedSteps(FusedGroups& groups, const DecoderInput& input) : groups_(groups) {
  std::int64_t first = 0;
  for (FusedGroup& group : groups_) {
    group.reset(input, first);
    first += group.items();
  }
}

void FusedSteps::launch() {
  const auto first_step = static_cast<std::int64_t>(launched_) * chunk_steps();
  const std::size_t slot = launched_++ % FusedBuffers::n_slots;
  for (FusedGroup& group : groups_) group.launch(slot, first_step);
}

DecoderSteps::Chunk FusedSteps::read() {
  const std::size_t slot = read_++ % FusedBuffers::n_slots;
  for (const FusedGroup& group : groups_) group.buffers().wait(slot);
  for (const auto result : {FusedBuffers::mel, FusedBuffers::gate_logits, FusedBuffers::attention_weights})
    gather(slot, result);
  return {chunk_[FusedBuffers::mel].data(), chunk_[FusedBuffers::gate_logits].data(),
          chunk_[FusedBuffers::attention_weights].data()};
}

// Joins the groups' items, without those that fill a kernel's rows.
void FusedSteps::gather(std::size_t slot, FusedBuffers::Result result) {
  auto& joined = chunk_[result];
  joined.clear();
  for (std::int64_t step = 0; step < chunk_steps(); ++step)
    for (const FusedGroup& group : groups_) {
      const FusedBuffers& buffers = group.buffers();
      const std::size_t width = buffers.width(result);
      const float* rows = buffers.results(slot, result) + static_cast<std::size_t>(step * buffers.items()) * width;
      joined.insert(joined.end(), rows, rows + static_cast<std::size_t>(group.items()) * width);
    }
}

}  // namespace tacoglow
