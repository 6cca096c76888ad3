#include "host_steps.hpp"

#include <utility>

namespace tacoglow {

HostSteps::HostSteps(BackendInstance& backend, const Manifest& manifest, DecoderInput input)
    : backend_(backend), manifest_(manifest), noises_(std::move(input.noises)), inputs_(std::move(input.encoded)) {
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

void HostSteps::launch() {
  draw_dropout(noises_, step_++, 1, manifest_.dropout_units(), inputs_.at("prenet_dropout").as<float>());
  backend_.run_into("decoder_step", inputs_, outputs_);
  for (const auto& [source, target] : manifest_.states) std::swap(inputs_.at(source), outputs_.at(target));
}

DecoderSteps::Chunk HostSteps::read() {
  Chunk chunk{nullptr, outputs_.at("gate_logit").as<float>(), nullptr};
  for (const auto& [source, target] : manifest_.states) {  // check_contract requires both among the states
    if (target == "mel_frame") chunk.mel = inputs_.at(source).as<float>();
    if (target == attention_output) chunk.attention_weights = inputs_.at(source).as<float>();
  }
  return chunk;
}

}  // namespace tacoglow
