// Decoder steps with their states in host memory, for backends that run a graph synchronously on the CPU.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "attention_window.hpp"
#include "backend.hpp"

namespace tacoglow {

// Runs a graph once, over the tensors that it was bound to.
using BoundGraph = std::function<void()>;

inline ConstTensorRefs refer_to(const Tensors& tensors) {
  ConstTensorRefs refs;
  for (const auto& [name, tensor] : tensors) refs[name] = &tensor;
  return refs;
}

inline TensorRefs refer_to(Tensors& tensors) {
  TensorRefs refs;
  for (auto& [name, tensor] : tensors) refs[name] = &tensor;
  return refs;
}

// Steps over two sets of states: even steps read set 0 and write set 1, odd steps the reverse. Nothing is allocated or
// looked up by name after construction.
class HostSteps : public DecoderSteps {
 public:
  // Binds decoder_step to tensors by name, which stay where they are and outlive the result.
  using Bind = std::function<BoundGraph(const ConstTensorRefs& inputs, const TensorRefs& outputs)>;

  HostSteps(const Bind& bind, const Manifest& manifest, DecoderInput input);

  std::int64_t chunk_steps() const override { return 1; }
  std::int64_t launches_in_flight() const override { return 1; }
  void launch() override;
  Chunk read() override { return chunks_[last_set_]; }

  // Returns the states after the last launch, by the name of the input: [B, ...].
  const Tensors& states() const { return states_[last_set_]; }
  // Returns the furthest token that the attention of an item with a window has rested on.
  std::int64_t reached(std::size_t item) const { return window_ ? window_->reached(item) : 0; }

 private:
  std::vector<Noise> noises_;
  std::vector<std::int64_t> next_steps_;  // of each item
  std::int64_t dropout_units_;
  Tensors fixed_;                          // encoder outputs, dropout and gate logit: the same memory for every step
  std::optional<AttentionWindow> window_;  // in fixed_
  std::array<Tensors, 2> states_;          // by the name of the input
  float* dropout_ = nullptr;               // in fixed_
  std::array<BoundGraph, 2> steps_;        // [i] writes states_[i]
  std::array<Chunk, 2> chunks_;            // likewise
  std::size_t last_set_ = 0;               // that the last step wrote
};

}  // namespace tacoglow
