// Mel -> samples: WaveGlow over windows of bounded size, and the denoiser. As Python's runtime/vocoder.py.
#pragma once

#include <cstdint>
#include <vector>

#include "backend.hpp"
#include "noise.hpp"

namespace tacoglow {

// A plane [n_channels, n_frames].
struct Mel {
  std::int64_t n_channels = 0, n_frames = 0;
  std::vector<float> values;

  // Columns first .. last - 1.
  Tensor window(std::int64_t first, std::int64_t last) const;
};

struct VocoderOptions {
  double sigma;                 // standard deviation of z
  double denoise;               // how many times WaveGlow's hum is subtracted; 0 leaves the denoiser out
  std::int64_t context_frames;  // seen to either side, at most WaveGlow's receptive field; below 0: all of it
};

class Vocoder {
 public:
  // The references must outlive it.
  Vocoder(BackendInstance& backend, const Manifest& manifest, const Noise& noise, const VocoderOptions& options)
      : backend_(backend), manifest_(manifest), noise_(noise), options_(options) {}

  // Samples of frames start .. stop - 1 of a mel that begins at the utterance's first frame.
  // Throws Error (engine) if they are no numbers.
  std::vector<float> window(const Mel& mel, std::int64_t start, std::int64_t stop) const;

  // Samples of the whole mel, window after window.
  std::vector<float> samples(const Mel& mel) const;

 private:
  std::vector<float> run_waveglow(const Mel& mel, std::int64_t start, std::int64_t stop) const;
  std::vector<float> run_denoiser(const std::vector<float>& samples) const;

  BackendInstance& backend_;
  const Manifest& manifest_;
  const Noise& noise_;
  VocoderOptions options_;
};

}  // namespace tacoglow
