// What a request becomes: utterances, their pauses and their speech.
#pragma once

#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "faults.hpp"
#include "request.hpp"

namespace tacoglow {

// Seconds that each stage has taken.
struct Seconds {
  double encoder = 0, decoder = 0, postnet = 0, vocoder = 0;

  Seconds& operator+=(const Seconds& other) {
    encoder += other.encoder, decoder += other.decoder, postnet += other.postnet, vocoder += other.vocoder;
    return *this;
  }
};

class Stopwatch {
 public:
  // Returns the seconds since the last lap.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

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
  std::int64_t first_sample = 0;  // in Speech::samples, or in the stream; below 0 if silence was left out before it
};

struct Speech {
  std::vector<float> samples;  // all pieces, with the pauses between them; empty for a stream
  std::int64_t n_frames = 0;
  std::vector<float> mel;  // [n_mel_channels, n_frames], all pieces
  tacoglow_stop_reason stop_reason = TACOGLOW_STOP_GATE;
  Seconds seconds;
  std::vector<Utterance> utterances;
};

// Returns a decoded piece without its samples. mel: after the postnet.
Utterance describe(const Voice& voice, const Piece& piece, const DecodedItem& item, const Mel& mel);

// Applies postnet and vocoder to a decoded piece, of this index; their seconds are added. before_window receives the
// number of frames done; what it throws is passed on.
Utterance finish(BackendInstance& backend, const Voice& voice, const Request& request, std::size_t piece,
                 const DecodedItem& item, const std::function<void(std::int64_t)>& before_window, Seconds& seconds);

// Calls the progress callback of a request, if it has one; returns false if it asked to stop.
bool report_progress(const Request& request, std::size_t piece, std::int64_t frames_decoded,
                     std::int64_t frames_vocoded);

// Hands samples of a piece to `put`, with the pause before it if they begin it and the pause after it if they end it,
// next to which they rise from silence and fall to it.
void place_segment(const Voice& voice, const std::vector<Piece>& pieces, std::size_t index, bool is_first, bool is_last,
                   std::vector<float> samples, const std::function<void(std::vector<float>)>& put);

// Joins the utterances of a request with pauses.
void join(const Voice& voice, const Request& request, Speech& speech);

// Fills in what a request's utterances have in common, except the samples.
void sum_up(const Voice& voice, Speech& speech);

}  // namespace tacoglow
