// Turns a mel spectrogram into samples, with WaveGlow or HiFi-GAN in windows of bounded size and the denoiser. The same
// algorithm as in Python's runtime/vocoder.py.
#pragma once

#include <cstdint>
#include <utility>
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

// Frames first .. last - 1.
using Frames = std::pair<std::int64_t, std::int64_t>;

// Cuts frames start .. stop - 1 of a mel into windows, so that the graph runs over the fewest frames in all. frames: of
// the whole mel. before, after: frames that a window sees on either side, unless the mel ends there. sizes: of the
// windows that the graph runs, ascending. A window that no size holds has one frame.
std::vector<Frames> plan_windows(std::int64_t start, std::int64_t stop, std::int64_t frames, std::int64_t before,
                                 std::int64_t after, const std::vector<std::int64_t>& sizes);

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
  // The samples of a window that the graph runs at once, with its context.
  std::vector<float> run_window(const MelView& mel, std::int64_t start, std::int64_t stop) const;
  std::vector<float> generate(const MelView& mel, std::int64_t start, std::int64_t stop) const;
  std::vector<float> run_denoiser(const std::vector<float>& samples) const;

  BackendInstance& backend_;
  const Manifest& manifest_;
  Noise noise_;
  VocoderOptions options_;
};

}  // namespace tacoglow
