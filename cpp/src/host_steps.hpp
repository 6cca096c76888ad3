// Decoder steps with their states in host memory, for backends that run a graph synchronously on the CPU.
#pragma once

#include "backend.hpp"

namespace tacoglow {

class HostSteps : public DecoderSteps {
 public:
  HostSteps(BackendInstance& backend, const Manifest& manifest, DecoderInput input);

  std::int64_t chunk_steps() const override { return 1; }
  std::int64_t launches_in_flight() const override { return 1; }
  void launch() override;
  Chunk read() override;

 private:
  BackendInstance& backend_;
  const Manifest& manifest_;
  std::vector<Noise> noises_;
  std::int64_t step_ = 0;  // the next one
  Tensors inputs_;         // encoder outputs, dropout, and the states that the next step reads
  Tensors outputs_;        // of the last step, except the new states, which are swapped into inputs_
};

}  // namespace tacoglow
