#include "backend.hpp"

#include <utility>

#include "error.hpp"
#include "host_steps.hpp"

namespace tacoglow {
namespace {

bool match(const TensorSpec& spec, const Tensor& tensor, Dims& dims) {
  if (tensor.dtype() != spec.dtype || tensor.shape().size() != spec.shape.size()) return false;
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    const auto [letter, factor] = spec.shape[i];
    const std::int64_t size = tensor.shape()[i];
    if (letter == 0 ? size != factor : size % factor != 0) return false;
    if (letter != 0 && dims.emplace(letter, size / factor).first->second != size / factor) return false;
  }
  return true;
}

}  // namespace

const std::vector<std::int64_t>& BackendInstance::window_sizes(const std::string&) const {
  static const std::vector<std::int64_t> any;
  return any;
}

Tensor BackendInstance::vocode(const Manifest& manifest, Tensor mel, const Noise& noise, std::int64_t first_group,
                               float sigma) {
  const std::int64_t frames = mel.shape()[2];
  Tensors inputs;
  inputs["mel"] = std::move(mel);
  if (manifest.takes_noise()) {
    const std::int64_t groups = frames * manifest.groups_per_frame();
    Tensor& z = inputs["z"] = Tensor(DType::float32, {1, manifest.group_size, groups});
    noise.z(first_group, groups, manifest.group_size, sigma, z.as<float>());
  }
  return std::move(run(manifest.vocoder, inputs).at("audio"));
}

std::unique_ptr<DecoderSteps> BackendInstance::start(DecoderInput input) { return start_on_host(std::move(input)); }

std::unique_ptr<HostSteps> BackendInstance::start_on_host(DecoderInput) { return nullptr; }

std::unique_ptr<RowSteps> BackendInstance::row_steps(const Profile&) { return nullptr; }

std::int64_t window_size(const std::vector<std::int64_t>& sizes, std::int64_t frames) {
  const auto found = std::lower_bound(sizes.begin(), sizes.end(), frames);
  return found == sizes.end() ? frames : *found;
}

Dims check_inputs(const std::string& graph, const Manifest& manifest, const Tensors& inputs) {
  Dims dims;
  for (const auto& spec : manifest.graphs.at(graph).inputs) {
    const auto found = inputs.find(spec.name);
    if (found == inputs.end()) throw request_error(graph + ": input '" + spec.name + "' is missing");
    if (!match(spec, found->second, dims))
      throw request_error(graph + ": " + spec.name + ": the dtype or shape does not match the manifest, got " +
                          to_string(found->second.shape()));
  }
  for (const auto& [letter, size] : dims) {
    const DimRange range = manifest.dimensions.at(letter);
    if (size < range.min || size > range.max)
      throw request_error(graph + ": " + letter + ": expected " + std::to_string(range.min) + " to " +
                          std::to_string(range.max) + " (this bundle's limits), got " + std::to_string(size) +
                          "; export the voice with other limits, or split the request");
  }
  return dims;
}

}  // namespace tacoglow
