// The decoder loop's states in host memory: for engines that run a step on the CPU and return when it is done.
#pragma once

#include "backend.hpp"

namespace tacoglow {

class HostSteps : public DecoderSteps {
 public:
  HostSteps(BackendInstance& backend, const Manifest& manifest, Tensors encoded);

  std::int64_t chunk_steps() const override { return 1; }
  std::int64_t launches_in_flight() const override { return 1; }
  void launch(const float* dropout) override;
  Chunk read() override;

 private:
  BackendInstance& backend_;
  const Manifest& manifest_;
  Tensors inputs_;   // the encoder's output, the dropout, and the states that the next step reads
  Tensors outputs_;  // of the last step, but for what has become a state
};

}  // namespace tacoglow
