// Turns a mel spectrogram into samples, with WaveGlow or HiFi-GAN in windows of bounded size and the denoiser. The same
// algorithm as in Python's runtime/vocoder.py.
#pragma once

#include <cstdint>
#include <vector>

#include "backend.hpp"
#include "mel.hpp"
#include "noise.hpp"

namespace tacoglow {

struct VocoderOptions {
  double sigma;                 // standard deviation of z
  double denoise;               // denoiser strength; 0: off
  std::int64_t context_frames;  // mel frames on either side, at most the vocoder's receptive field; negative: all of it
  double volume = 1.0;          // factor of the samples
};

class Vocoder {
 public:
  // The backend and the manifest must outlive the vocoder.
  Vocoder(BackendInstance& backend, const Manifest& manifest, const Noise& noise, const VocoderOptions& options)
      : backend_(backend), manifest_(manifest), noise_(noise), options_(options) {}

  // Returns the samples of frames start .. stop - 1. The mel must begin at the utterance's first frame. Throws Error
  // (backend) if the audio contains NaN or Inf.
  std::vector<float> window(const MelView& mel, std::int64_t start, std::int64_t stop) const;

  // Frames after a window that its samples depend on: WaveGlow's context, and what the denoiser's window covers.
  std::int64_t lookahead_frames() const;

 private:
  // Frames on either side that the denoiser's STFT window covers; 0 if it is off.
  std::int64_t denoiser_frames() const;
  std::int64_t context_frames(std::int64_t receptive_field) const;
  std::vector<float> generate(const MelView& mel, std::int64_t start, std::int64_t stop) const;
  std::vector<float> run_denoiser(const std::vector<float>& samples) const;

  BackendInstance& backend_;
  const Manifest& manifest_;
  Noise noise_;
  VocoderOptions options_;
};

}  // namespace tacoglow
