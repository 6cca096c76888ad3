#include "vocoder.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "error.hpp"

namespace tacoglow {

std::vector<Frames> plan_windows(std::int64_t start, std::int64_t stop, std::int64_t frames, std::int64_t before,
                                 std::int64_t after, const std::vector<std::int64_t>& sizes) {
  if (std::min(frames, stop + after) - std::max<std::int64_t>(0, start - before) <= sizes.front())
    return {{start, stop}};
  struct Way {
    std::int64_t run, n_windows, last;  // frames run until there; where the last window starts
  };
  std::map<std::int64_t, Way> best = {{start, {0, 0, start}}};  // by where the next window may begin
  for (auto at = best.begin(); at->first < stop; ++at) {
    const auto [position, way] = *at;
    const std::int64_t first = std::max<std::int64_t>(0, position - before);
    for (const std::int64_t size : sizes) {
      std::int64_t end = frames - first <= size ? stop : std::min(stop, first + size - after);
      if (size == sizes.back()) end = std::max(end, position + 1);
      if (end <= position) continue;
      const Way next = {way.run + size, way.n_windows + 1, position};
      Way& known = best.try_emplace(end, next).first->second;
      if (std::tie(next.run, next.n_windows) < std::tie(known.run, known.n_windows)) known = next;
    }
  }
  std::vector<Frames> windows;
  for (std::int64_t end = stop; end > start; end = windows.back().first) windows.emplace_back(best.at(end).last, end);
  std::reverse(windows.begin(), windows.end());
  return windows;
}

std::vector<float> Vocoder::window(const MelView& mel, std::int64_t start, std::int64_t stop) const {
  const std::int64_t margin = denoiser_frames();
  const std::vector<std::int64_t>& sizes = backend_.window_sizes(manifest_.vocoder);
  std::vector<float> samples;
  for (const auto& [first, last] :
       plan_windows(start, stop, mel.n_frames, context_frames(manifest_.frames_before) + margin,
                    context_frames(manifest_.frames_after) + margin,
                    sizes.empty() ? std::vector<std::int64_t>{manifest_.dimensions.at('F').max} : sizes)) {
    std::vector<float> own = run_window(mel, first, last);
    if (samples.empty())
      samples = std::move(own);
    else
      samples.insert(samples.end(), own.begin(), own.end());
  }
  return samples;
}

std::vector<float> Vocoder::run_window(const MelView& mel, std::int64_t start, std::int64_t stop) const {
  const std::int64_t hop = manifest_.hop_length, margin = denoiser_frames();
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
  const std::int64_t first_group = manifest_.takes_noise() ? first * manifest_.groups_per_frame() : 0;
  const std::int64_t frames =
      window_size(backend_.window_sizes(manifest_.vocoder), std::max(manifest_.min_frames, last - first));
  const Tensor audio = backend_.vocode(manifest_, mel.window(first, last, frames), noise_, first_group,
                                       static_cast<float>(options_.sigma));
  const float* samples = audio.as<float>();
  return {samples + (start - first) * hop, samples + (stop - first) * hop};
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
