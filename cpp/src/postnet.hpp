// Applies the postnet to decoded frames, incrementally for streams.
#pragma once

#include "backend.hpp"
#include "decoder.hpp"
#include "vocoder.hpp"

namespace tacoglow {

class Postnet {
 public:
  Postnet(BackendInstance& backend, const Manifest& manifest) : backend_(backend), manifest_(manifest) {
    mel_.n_channels = manifest.n_mel_channels;
  }

  // Extends the mel to the last frame whose context has been decoded; to the end, if decoding has finished.
  void advance(const Decoded& decoded);

  const Mel& mel() const { return mel_; }

 private:
  Tensor run(const Decoded& decoded, std::int64_t first) const;

  BackendInstance& backend_;
  const Manifest& manifest_;
  Mel mel_;
};

}  // namespace tacoglow
