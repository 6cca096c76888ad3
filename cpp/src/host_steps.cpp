#include "host_steps.hpp"

#include <utility>

namespace tacoglow {

HostSteps::HostSteps(const Bind& bind, const Manifest& manifest, DecoderInput input)
    : noises_(std::move(input.noises)),
      next_steps_(std::move(input.before.steps)),
      dropout_units_(manifest.dropout_units()),
      fixed_(std::move(input.encoded)) {
  next_steps_.resize(noises_.size());
  const GraphSpec& step = manifest.graphs.at("decoder_step");
  const Shape& memory = fixed_.at("memory").shape();
  const Dims dims = {{'B', memory[0]}, {'T', memory[1]}};
  const auto zeros = [&](const std::string& name) {
    const TensorSpec& spec = step.tensor(name);
    return Tensor(spec.dtype, spec.resolve(dims));
  };
  for (const auto* name : {"prenet_dropout", "gate_logit"}) fixed_[name] = zeros(name);
  for (Tensors& states : states_)
    for (const auto& [source, target] : manifest.states) states[source] = zeros(source);
  for (auto& [name, tensor] : input.before.states) states_[last_set_].at(name) = std::move(tensor);
  input.before.reached.resize(noises_.size());
  if (input.has_window())
    window_.emplace(fixed_.at("memory_mask"), std::move(input.attention_windows), std::move(input.before.reached));
  dropout_ = fixed_.at("prenet_dropout").as<float>();
  for (const std::size_t written : {0, 1}) {
    ConstTensorRefs inputs;
    for (const auto& [name, tensor] : fixed_)
      if (name != "gate_logit") inputs[name] = &tensor;
    TensorRefs outputs = {{"gate_logit", &fixed_.at("gate_logit")}};
    Chunk& chunk = chunks_[written];
    chunk.gate_logits = outputs.at("gate_logit")->as<float>();
    for (const auto& [source, target] : manifest.states) {  // check_contract requires both chunk tensors among them
      inputs[source] = &states_[1 - written].at(source);
      outputs[target] = &states_[written].at(source);
      if (target == "mel_frame") chunk.mel = outputs[target]->as<float>();
      if (target == attention_output) chunk.attention_weights = outputs[target]->as<float>();
    }
    steps_[written] = bind(inputs, outputs);
  }
}

void HostSteps::launch() {
  float* dropout = dropout_;
  for (std::size_t i = 0; i < noises_.size(); ++i, dropout += dropout_units_)
    noises_[i].prenet_dropout(next_steps_[i]++, 1, dropout_units_, dropout);
  last_set_ = 1 - last_set_;
  steps_[last_set_]();
  if (window_) window_->move(chunks_[last_set_].attention_weights);
}

}  // namespace tacoglow
