// Turns token ids into speech with a bundle: encoder, decoder loop, postnet and vocoder.
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

// Synthesizes with a voice. Used by one thread at a time.
class Session {
 public:
  explicit Session(std::shared_ptr<const Voice> voice);

  // Synthesizes several utterances; those in the same token bucket are decoded together. Results are in the order of
  // the requests.
  std::vector<Speech> speak(const std::vector<Request>& requests);

  // Synthesizes one utterance and calls on_segment with every segment in order. An exception from on_segment ends the
  // stream and is passed on.
  tacoglow_stop_reason stream(const Request& request, const OnSegment& on_segment);

  const Voice& voice() const { return *voice_; }

 private:
  // One utterance of a batch.
  struct Utterance {
    const Request& request;
    Tensors encoded;  // encoder outputs [1, T, ...], padded to the token bucket
    DecodedItem item;
  };

  void decode_all(std::vector<Utterance>& batch);
  Speech to_speech(const Utterance& utterance);
  Tensors encode(const std::vector<std::int32_t>& ids);

  std::shared_ptr<const Voice> voice_;
  std::unique_ptr<BackendInstance> backend_;
};

}  // namespace tacoglow
