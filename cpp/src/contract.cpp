// Compares the tensors that this runtime passes to each graph and reads from it with those in the manifest.

#include <optional>

#include "error.hpp"
#include "manifest.hpp"

namespace tacoglow {
namespace {

using Entry = std::optional<ShapeEntry>;  // nullopt: a width that the manifest does not determine

struct Expected {
  std::string name;
  DType dtype;
  std::vector<Entry> shape;
};

Entry times(char letter, std::int64_t factor = 1) { return ShapeEntry{letter, factor}; }

Entry fixed(std::int64_t size) { return ShapeEntry{0, size}; }

constexpr std::nullopt_t any = std::nullopt;

bool fits(const Expected& expected, const TensorSpec& spec) {
  if (expected.name != spec.name || expected.dtype != spec.dtype || expected.shape.size() != spec.shape.size())
    return false;
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    const bool is_width = !expected.shape[i] && spec.shape[i].letter == 0;
    if (!is_width && !(expected.shape[i] && *expected.shape[i] == spec.shape[i])) return false;
  }
  return true;
}

class Contract {
 public:
  Contract(const Manifest& manifest, const std::string& source) : manifest_(manifest), source_(source) {}

  void check(const std::string& graph, const std::vector<Expected>& inputs, const std::vector<Expected>& outputs) {
    const GraphSpec& spec = manifest_.graphs.at(graph);
    check_side(graph, "inputs", spec.inputs, inputs);
    check_side(graph, "outputs", spec.outputs, outputs);
  }

 private:
  void check_side(const std::string& graph, const std::string& side, const std::vector<TensorSpec>& listed,
                  const std::vector<Expected>& expected) {
    const std::string place = source_ + ": $.graphs." + graph + "." + side;
    for (const auto& tensor : expected) {
      bool found = false;
      for (const auto& spec : listed) found = found || fits(tensor, spec);
      if (!found)
        throw bundle_error(place + ": tensor '" + tensor.name +
                           "' is missing, or has a different dtype or shape than this runtime expects; "
                           "export the voice again with a matching version");
    }
    if (listed.size() != expected.size())
      throw bundle_error(place + ": expected " + std::to_string(expected.size()) + " tensors, got " +
                         std::to_string(listed.size()) + "; export the voice again with a matching version");
  }

  const Manifest& manifest_;
  const std::string& source_;
};

void check_step(Contract& contract, const Manifest& m, std::vector<Expected> inputs) {
  const GraphSpec& step = m.graphs.at("decoder_step");
  std::vector<Expected> outputs = {{"gate_logit", DType::float32, {times('B'), fixed(1)}}};
  bool feeds_back = false, attends = false;
  for (const auto& [source, target] : m.states) {
    const TensorSpec &in = step.tensor(source), &out = step.tensor(target);
    const bool is_state = fits({source, DType::float32, {times('B'), any}}, in) ||
                          fits({source, DType::float32, {times('B'), times('T')}}, in);
    if (!is_state || !(in.shape == out.shape))
      throw bundle_error(step.file + ": state '" + source + "' -> '" + target +
                         "': expected float32 tensors with the same shape, [B, N] or [B, T]; export the voice again");
    feeds_back = feeds_back || target == "mel_frame";
    attends = attends || (target == attention_output && fits({target, DType::float32, {times('B'), times('T')}}, out));
    inputs.push_back({source, DType::float32, {in.shape.begin(), in.shape.end()}});
    outputs.push_back({target, DType::float32, {out.shape.begin(), out.shape.end()}});
  }
  if (!feeds_back) throw bundle_error(step.file + ": mel_frame is not among the states; export the voice again");
  if (!attends)
    throw bundle_error(step.file + ": attention_weights_out [B, T] is not among the states; export the voice again");
  contract.check("decoder_step", inputs, outputs);
  const TensorSpec& frame = step.tensor("mel_frame");
  if (!fits({"mel_frame", DType::float32, {times('B'), fixed(m.frames_per_step * m.n_mel_channels)}}, frame))
    throw bundle_error(step.file + ": mel_frame is not [B, frames_per_step * n_mel_channels]; export the voice again");
}

}  // namespace

void check_contract(const Manifest& m, const std::string& source) {
  Contract contract(m, source);
  const Entry B = times('B'), T = times('T'), F = times('F'), S = times('S'), M = fixed(m.n_mel_channels);
  const std::vector<Expected> encoded = {{"memory", DType::float32, {B, T, any}},
                                         {"processed_memory", DType::float32, {B, T, any}},
                                         {"memory_mask", DType::boolean, {B, T}}};
  contract.check("encoder", {{"token_ids", DType::int32, {B, T}}, {"token_lengths", DType::int32, {B}}}, encoded);
  std::vector<Expected> step_inputs = encoded;
  step_inputs.push_back({"prenet_dropout", DType::float32, {B, fixed(m.prenet_layers), fixed(m.prenet_dim)}});
  check_step(contract, m, step_inputs);
  contract.check("postnet", {{"mel", DType::float32, {B, M, F}}, {"mel_lengths", DType::int32, {B}}},
                 {{"mel_postnet", DType::float32, {B, M, F}}});
  std::vector<Expected> vocoder_inputs = {{"mel", DType::float32, {B, M, F}}};
  if (m.takes_noise())
    vocoder_inputs.push_back({"z", DType::float32, {B, fixed(m.group_size), times('F', m.groups_per_frame())}});
  contract.check(m.vocoder, vocoder_inputs, {{"audio", DType::float32, {B, times('F', m.hop_length)}}});
  contract.check("denoiser", {{"audio", DType::float32, {B, S}}, {"strength", DType::float32, {fixed(1)}}},
                 {{"audio_denoised", DType::float32, {B, S}}});
}

}  // namespace tacoglow
