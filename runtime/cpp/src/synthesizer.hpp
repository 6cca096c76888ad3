// Token ids -> speech over a bundle: encoder, decoder loop, postnet and vocoder put together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "decoder.hpp"
#include "engine.hpp"
#include "noise.hpp"
#include "tacoglow.h"
#include "text.hpp"
#include "vocoder.hpp"

namespace tacoglow {

// A bundle, opened. Safe for use from several threads.
struct Voice {
  Voice(Manifest read, std::unique_ptr<Engine> opened, std::string engine_chosen);

  Manifest manifest;
  TextTable text;
  std::unique_ptr<Engine> engine;
  std::string engine_name;
  tacoglow_facts facts;  // points into manifest and engine_name
};

// Throws Error (bundle, engine). engine_name: "" takes the first that is built in.
std::shared_ptr<const Voice> open_voice(const std::filesystem::path& bundle, const std::string& engine_name,
                                        const EngineOptions& options);

struct Request {
  std::vector<std::int32_t> ids;
  std::uint64_t seed, utterance;
  DecodeOptions decoding;
  VocoderOptions vocoding;
  std::int64_t first_chunk_frames, chunk_frames;  // of a stream
};

// The request with the bundle's own values filled in. Throws Error (request), naming what is out of its range.
Request checked_request(const Voice& voice, const tacoglow_request& given);

struct Speech {
  std::vector<float> samples;
  Mel mel;
  tacoglow_stop_reason stop_reason;
  double encoder_seconds, decoder_seconds, postnet_seconds, vocoder_seconds;
};

using OnChunk = std::function<void(const std::vector<float>& samples)>;

// One thread's way of speaking with a voice.
class Session {
 public:
  explicit Session(std::shared_ptr<const Voice> voice);

  Speech speak(const Request& request);

  // Calls on_chunk with every chunk in order; what it throws ends the speech and passes through.
  tacoglow_stop_reason stream(const Request& request, const OnChunk& on_chunk);

  const Voice& voice() const { return *voice_; }

 private:
  Tensors encode(const std::vector<std::int32_t>& ids);

  std::shared_ptr<const Voice> voice_;
  std::unique_ptr<Context> context_;
};

}  // namespace tacoglow
