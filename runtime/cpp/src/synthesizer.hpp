// Token ids -> speech over a bundle: encoder, decoder loop, postnet and vocoder put together.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "request.hpp"

namespace tacoglow {

struct Speech {
  std::vector<float> samples;
  Mel mel;
  tacoglow_stop_reason stop_reason;
  double encoder_seconds, decoder_seconds, postnet_seconds, vocoder_seconds;
};

using OnSegment = std::function<void(const std::vector<float>& samples)>;

// One thread's way of speaking with a voice.
class Session {
 public:
  explicit Session(std::shared_ptr<const Voice> voice);

  // In the order of the requests. Those of one token bucket are decoded together.
  std::vector<Speech> speak(const std::vector<Request>& requests);

  // Calls on_segment with every chunk in order; what it throws ends the speech and passes through.
  tacoglow_stop_reason stream(const Request& request, const OnSegment& on_segment);

  const Voice& voice() const { return *voice_; }

 private:
  // One of the utterances that are decoded together.
  struct Utterance {
    const Request& request;
    Tensors encoded;  // of one item, padded to its bucket
    DecodedItem item;
  };

  void decode_all(std::vector<Utterance>& batch);
  Speech to_speech(const Utterance& utterance);
  Tensors encode(const std::vector<std::int32_t>& ids);

  std::shared_ptr<const Voice> voice_;
  std::unique_ptr<BackendInstance> backend_;
};

}  // namespace tacoglow
