// What a caller asks for, checked and with the bundle's own values filled in.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder.hpp"
#include "tacoglow.h"
#include "vocoder.hpp"
#include "voice.hpp"

namespace tacoglow {

struct Request {
  std::vector<std::int32_t> ids;
  Noise noise;
  DecodeOptions decoding;
  VocoderOptions vocoding;
  std::int64_t first_segment_frames, segment_frames;  // of a stream
  std::uint64_t retries;                              // with other noise, where the frame limit is reached
};

// Throws Error (request), naming what is out of its range.
Request resolve_request(const Voice& voice, const tacoglow_request& given);

}  // namespace tacoglow
