#include "host_steps.hpp"

#include <cstring>
#include <utility>

namespace tacoglow {

HostSteps::HostSteps(BackendInstance& backend, const Manifest& manifest, Tensors encoded)
    : backend_(backend), manifest_(manifest), inputs_(std::move(encoded)) {
  const GraphSpec& step = manifest.graphs.at("decoder_step");
  const Shape& memory = inputs_.at("memory").shape();
  const Dims dims = {{'B', memory[0]}, {'T', memory[1]}};
  const auto allocate = [&](const std::string& name) {
    const TensorSpec& spec = step.tensor(name);
    inputs_[name] = Tensor(spec.dtype, spec.resolve(dims));
  };
  for (const auto& [source, target] : manifest.states) allocate(source);
  allocate("prenet_dropout");
}

void HostSteps::launch(const float* dropout) {
  Tensor& slot = inputs_.at("prenet_dropout");
  std::memcpy(slot.data(), dropout, slot.size_bytes());
  outputs_ = backend_.run("decoder_step", inputs_);
  for (const auto& [source, target] : manifest_.states) std::swap(inputs_.at(source), outputs_.at(target));
}

DecoderSteps::Chunk HostSteps::read() {
  for (const auto& [source, target] : manifest_.states)
    if (target == "mel_frame") return {inputs_.at(source).as<float>(), outputs_.at("gate_logit").as<float>()};
  return {};  // not reached: check_contract requires mel_frame among the states
}

}  // namespace tacoglow
