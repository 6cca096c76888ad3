// A request, checked and with the bundle's defaults filled in.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder.hpp"
#include "tacoglow.h"
#include "vocoder.hpp"
#include "voice.hpp"

namespace tacoglow {

struct Request {
  std::vector<Piece> pieces;  // of a text; one for ids
  std::uint64_t seed, utterance;
  DecodeOptions decoding;
  VocoderOptions vocoding;
  std::int64_t first_segment_frames, segment_frames;  // of a stream
  std::uint64_t retries;                              // how often an utterance with a fault is decoded again
  tacoglow_progress_callback progress;                // nullptr: none
  void* progress_user;
  double rate;        // speaking rate
  bool trim_silence;  // leave out the silence at both ends

  Noise noise(std::size_t piece) const { return {seed, utterance + piece}; }
  double rate_of(std::size_t piece) const;
  VocoderOptions vocoding_of(std::size_t piece) const;
};

// How a request's text is read.
TextOptions text_options(const Voice& voice, const tacoglow_request& given);

// Checks a caller's request and fills in the bundle's defaults. Throws Error (request) that names the invalid field.
Request resolve_request(const Voice& voice, const tacoglow_request& given);

}  // namespace tacoglow
