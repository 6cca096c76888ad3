// Turns token ids into speech with a bundle: encoder, decoder loop, postnet and vocoder.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "faults.hpp"
#include "request.hpp"

namespace tacoglow {

// One piece of a text, or the utterance of given ids.
struct Utterance {
  Piece piece;
  std::vector<float> samples;  // empty in a stream
  std::size_t n_samples = 0;
  std::int64_t n_frames = 0;
  std::vector<float> mel;        // [n_mel_channels, n_frames]
  std::vector<float> gate;       // [n_frames], probabilities
  std::vector<float> alignment;  // [n_frames, n_tokens]
  tacoglow_stop_reason stop_reason = TACOGLOW_STOP_GATE;
  std::vector<SpeechFault> faults;
  std::size_t first_sample = 0;  // in Speech::samples, or in the stream
};

struct Speech {
  std::vector<float> samples;  // all pieces, with the pauses between them; empty for a stream
  std::int64_t n_frames = 0;
  std::vector<float> mel;  // [n_mel_channels, n_frames], all pieces
  tacoglow_stop_reason stop_reason = TACOGLOW_STOP_GATE;
  double encoder_seconds = 0, decoder_seconds = 0, postnet_seconds = 0, vocoder_seconds = 0;
  std::vector<Utterance> utterances;
};

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
    Tensors encoded;            // encoder outputs [1, T, ...], padded to the token bucket
    DecodedItem item;           // the best try
    std::int64_t severity = 0;  // of its faults

    const Piece& piece() const { return request.pieces[piece_index]; }
    // Calls the progress callback. Throws Error (cancelled).
    void report(const Decoded& decoded, std::int64_t frames_vocoded) const;
  };
  using Jobs = std::vector<Job>;
  using Rows = std::vector<std::size_t>;  // of a batch

  std::vector<Jobs> group_into_batches(const std::vector<Request>& requests) const;
  std::vector<DecodedItem> decode_once(const Jobs& batch, const Rows& rows, std::uint64_t attempt);
  void decode_all(Jobs& batch);
  Utterance to_utterance(const Job& job, Speech& speech);
  Utterance describe(const Piece& piece, const DecodedItem& item, const Mel& mel) const;
  Utterance stream_piece(const Request& request, std::size_t index, const OnSegment& on_segment);
  void fade(const std::vector<Piece>& pieces, std::size_t index, bool is_first, bool is_last, float* samples,
            std::size_t n_samples) const;
  void join(const std::vector<Piece>& pieces, Speech& speech) const;
  void sum_up(Speech& speech) const;
  Tensors encode(const std::vector<std::int32_t>& ids);

  std::shared_ptr<const Voice> voice_;
  std::unique_ptr<BackendInstance> backend_;
};

}  // namespace tacoglow
