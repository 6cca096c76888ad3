// Applies the postnet to decoded frames, incrementally for streams.
#pragma once

#include "backend.hpp"
#include "decoder.hpp"
#include "mel.hpp"

namespace tacoglow {

class Postnet {
 public:
  // max_frames: of the utterance. The references must outlive this object.
  Postnet(BackendInstance& backend, const Manifest& manifest, const Decoded& decoded, std::int64_t max_frames)
      : backend_(backend),
        postnet_frames_(manifest.postnet_frames),
        decoded_(decoded),
        mel_(manifest.n_mel_channels, max_frames) {}

  // Extends the mel, from the first n_frames decoded frames, to the last one whose context is among them; if there will
  // be no more, to the last.
  void advance(std::int64_t n_frames, bool is_last);

  const Mel& mel() const { return mel_; }

 private:
  BackendInstance& backend_;
  std::int64_t postnet_frames_;
  const Decoded& decoded_;
  Mel mel_;
};

}  // namespace tacoglow
