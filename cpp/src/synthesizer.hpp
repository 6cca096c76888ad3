// Turns token ids into speech with a bundle in one thread: encoder, decoder loop, postnet and vocoder. scheduling/ does
// it for many requests at once.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "attempts.hpp"
#include "stream_samples.hpp"
#include "utterance.hpp"

namespace tacoglow {

using OnSegment = std::function<void(const std::vector<float>& samples)>;

// Synthesizes with a voice. Used by one thread at a time.
class Session {
 public:
  explicit Session(std::shared_ptr<const Voice> voice);

  // Synthesizes several requests; pieces in the same token bucket are decoded together. Results are in the order of the
  // requests. Throws Error (cancelled) if a request's progress callback asks to stop.
  std::vector<Speech> speak(const std::vector<Request>& requests);

  // Synthesizes one request and calls on_segment with every segment in order; returns everything but the samples and
  // the times. An exception from on_segment ends the stream and is passed on.
  Speech stream(const Request& request, const OnSegment& on_segment);

  const Voice& voice() const { return *voice_; }

 private:
  // One piece of one request, while it is synthesized.
  struct Job {
    std::size_t request_index, piece_index;
    const Request& request;
    std::int64_t n_tokens;
    DecodeOptions options;
    Tensors encoded;  // encoder outputs [1, T, ...], padded to the token bucket
    Attempts attempts;

    const Piece& piece() const { return request.pieces[piece_index]; }
    // Calls the progress callback. Throws Error (cancelled).
    void report(std::int64_t frames_decoded, std::int64_t frames_vocoded) const;
  };
  using Jobs = std::vector<Job>;
  using Rows = std::vector<std::size_t>;  // of a batch

  std::vector<Jobs> group_into_batches(const std::vector<Request>& requests) const;
  std::vector<DecodedItem> decode_once(const Jobs& batch, const Rows& rows);
  void decode_all(Jobs& batch);
  Utterance stream_piece(const Request& request, std::size_t index, StreamSamples& samples,
                         const OnSegment& on_segment);

  std::shared_ptr<const Voice> voice_;
  std::unique_ptr<BackendInstance> backend_;
};

}  // namespace tacoglow
