#include "vocoder.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"

namespace tacoglow {

std::vector<float> Vocoder::window(const MelView& mel, std::int64_t start, std::int64_t stop) const {
  const std::int64_t hop = manifest_.hop_length, margin = denoiser_frames();
  const std::int64_t seen = std::min(mel.n_frames, stop + margin + context_frames(manifest_.frames_after)) -
                            std::max<std::int64_t>(0, start - margin - context_frames(manifest_.frames_before));
  if (seen > manifest_.dimensions.at('F').max && stop - start > 1) {  // a mel stretched beyond the frame limit
    const std::int64_t middle = (start + stop) / 2;
    std::vector<float> joined = window(mel, start, middle);
    const std::vector<float> second = window(mel, middle, stop);
    joined.insert(joined.end(), second.begin(), second.end());
    return joined;
  }
  const std::int64_t first = std::max<std::int64_t>(0, start - margin), last = std::min(mel.n_frames, stop + margin);
  std::vector<float> samples = generate(mel, first, last);
  if (margin > 0) samples = run_denoiser(samples);
  if (!std::all_of(samples.begin(), samples.end(), [](float sample) { return std::isfinite(sample); }))
    throw backend_error(std::string("the audio contains NaN or Inf: ") +
                        (manifest_.precision == "fp16"
                             ? "the range of fp16 is too small for this voice; export it with --precision bf16 or fp32"
                             : "the weights or the backend are faulty; export the voice again"));
  std::vector<float> wanted(samples.begin() + (start - first) * hop, samples.begin() + (stop - first) * hop);
  if (options_.volume != 1.0)
    for (float& sample : wanted) sample *= static_cast<float>(options_.volume);
  return wanted;
}

std::int64_t Vocoder::denoiser_frames() const {
  const std::int64_t hop = manifest_.hop_length;
  return options_.denoise > 0.0 ? (manifest_.filter_length + hop - 1) / hop : 0;
}

std::int64_t Vocoder::context_frames(std::int64_t receptive_field) const {
  return options_.context_frames < 0 ? receptive_field : std::min(receptive_field, options_.context_frames);
}

std::int64_t Vocoder::lookahead_frames() const { return denoiser_frames() + context_frames(manifest_.frames_after); }

std::vector<float> Vocoder::generate(const MelView& mel, std::int64_t start, std::int64_t stop) const {
  const std::int64_t first = std::max<std::int64_t>(0, start - context_frames(manifest_.frames_before));
  const std::int64_t last = std::min(mel.n_frames, stop + context_frames(manifest_.frames_after));
  const std::int64_t hop = manifest_.hop_length;
  Tensors inputs;
  inputs["mel"] = mel.window(first, last, manifest_.min_frames);
  if (manifest_.takes_noise()) {
    const std::int64_t groups = manifest_.groups_per_frame();
    Tensor& z = inputs["z"] = Tensor(DType::float32, {1, manifest_.group_size, (last - first) * groups});
    noise_.z(first * groups, (last - first) * groups, manifest_.group_size, static_cast<float>(options_.sigma),
             z.as<float>());
  }
  const Tensors outputs = backend_.run(manifest_.vocoder, inputs);
  const float* audio = outputs.at("audio").as<float>();
  return {audio + (start - first) * hop, audio + (stop - first) * hop};
}

std::vector<float> Vocoder::run_denoiser(const std::vector<float>& samples) const {
  const auto size = std::max(static_cast<std::int64_t>(samples.size()), manifest_.dimensions.at('S').min);
  Tensors inputs;
  Tensor& audio = inputs["audio"] = Tensor(DType::float32, {1, size});
  std::copy(samples.begin(), samples.end(), audio.as<float>());
  Tensor& strength = inputs["strength"] = Tensor(DType::float32, {1});
  *strength.as<float>() = static_cast<float>(options_.denoise);
  const Tensors outputs = backend_.run("denoiser", inputs);
  const float* denoised = outputs.at("audio_denoised").as<float>();
  return {denoised, denoised + samples.size()};
}

}  // namespace tacoglow
