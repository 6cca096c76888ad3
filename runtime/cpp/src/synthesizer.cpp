#include "synthesizer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "error.hpp"
#include "postnet.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t smallest_bucket = 32;  // tokens; buckets double from here to the bundle's limit

// The padded length at which an item is decoded, the same as in Python: an engine's softmax sums a longer row in
// another order, and the decoder loop amplifies that rounding.
std::int64_t token_bucket(std::int64_t length, std::int64_t limit) {
  std::int64_t bucket = smallest_bucket;
  while (bucket < length) bucket *= 2;
  return std::min(bucket, limit);
}

// [1, T, ...] -> [1, tokens, ...], the new places filled with `padding` bytes.
Tensor padded(const Tensor& tensor, std::int64_t tokens, int padding) {
  Shape shape = tensor.shape();
  shape[1] = tokens;
  Tensor result(tensor.dtype(), shape);
  std::memset(result.data(), padding, result.size_bytes());
  std::memcpy(result.data(), tensor.data(), tensor.size_bytes());
  return result;
}

class Stopwatch {
 public:
  // Seconds since the last lap.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

tacoglow_stop_reason reason(const Decoded& decoded) {
  return decoded.gate_fired ? TACOGLOW_STOP_GATE : TACOGLOW_STOP_FRAME_LIMIT;
}

void cut(Mel& mel, std::int64_t n_frames) {
  const Tensor kept = mel.window(0, n_frames);
  mel = {mel.n_channels, n_frames, {kept.as<float>(), kept.as<float>() + element_count(kept.shape())}};
}

std::vector<std::int32_t> checked_ids(const Voice& voice, const tacoglow_request& given) {
  if ((given.text == nullptr) == (given.ids == nullptr)) throw request_error("request: give either text or ids");
  std::vector<std::int32_t> ids;
  if (given.text != nullptr)
    ids = voice.text.encode(given.text);
  else if (given.n_ids <= static_cast<std::size_t>(voice.facts.max_tokens))
    ids.assign(given.ids, given.ids + given.n_ids);
  const std::size_t count = given.text != nullptr ? ids.size() : given.n_ids;
  if (count < 1 || count > static_cast<std::size_t>(voice.facts.max_tokens))
    throw request_error("request: expected 1 to " + std::to_string(voice.facts.max_tokens) + " tokens, got " +
                        std::to_string(count) + "; split the text at its sentences");
  for (const auto id : ids)
    if (id < 0 || id >= voice.facts.n_symbols)
      throw request_error("request: expected token ids from 0 to " + std::to_string(voice.facts.n_symbols - 1) +
                          ", got " + std::to_string(id));
  return ids;
}

void check_number(const char* name, double value) {
  if (!std::isfinite(value)) throw request_error(std::string(name) + ": expected a finite number");
}

}  // namespace

Voice::Voice(Manifest read, std::unique_ptr<Engine> opened, std::string engine_chosen)
    : manifest(std::move(read)),
      text(manifest),
      engine(std::move(opened)),
      engine_name(std::move(engine_chosen)),
      facts{manifest.name.c_str(),
            manifest.language.c_str(),
            manifest.precision.c_str(),
            engine_name.c_str(),
            static_cast<std::int32_t>(manifest.sampling_rate),
            static_cast<std::int32_t>(manifest.hop_length),
            static_cast<std::int32_t>(manifest.n_mel_channels),
            static_cast<std::int32_t>(manifest.symbols.size()),
            static_cast<std::int32_t>(manifest.dimensions.at('T').max),
            static_cast<std::int32_t>(manifest.max_frames),
            manifest.gate_threshold,
            manifest.sigma,
            text.takes_text() ? 1 : 0} {}

Request checked_request(const Voice& voice, const tacoglow_request& given) {
  for (const auto& [name, value] :
       {std::pair{"sigma", given.sigma}, {"denoise", given.denoise}, {"gate_threshold", given.gate_threshold}})
    check_number(name, value);
  if (given.denoise < 0.0) throw request_error("denoise: expected a number from 0 up");
  const double threshold = given.gate_threshold == 0.0 ? voice.manifest.gate_threshold : given.gate_threshold;
  if (threshold <= 0.0 || threshold >= 1.0)
    throw request_error("gate_threshold: expected a probability between 0 and 1");
  const std::int64_t frames = given.max_frames == 0 ? voice.manifest.max_frames : given.max_frames;
  if (frames < 1 || frames > voice.manifest.max_frames)
    throw request_error("max_frames: expected 1 to " + std::to_string(voice.manifest.max_frames) +
                        " (this bundle's limit), got " + std::to_string(frames) +
                        "; a longer one needs export-onnx --max-frames");
  if (given.first_chunk_frames < 1 || given.chunk_frames < 1)
    throw request_error("first_chunk_frames, chunk_frames: expected 1 or more");
  const double sigma = given.sigma < 0.0 ? voice.manifest.sigma : given.sigma;
  return {checked_ids(voice, given), given.seed,
          given.utterance,           {threshold, frames},
          {sigma, given.denoise, given.context_frames}, given.first_chunk_frames,
          given.chunk_frames};
}

Session::Session(std::shared_ptr<const Voice> voice) : voice_(std::move(voice)), context_(voice_->engine->context()) {}

Speech Session::speak(const Request& request) {
  const Manifest& manifest = voice_->manifest;
  const Noise noise(request.seed, request.utterance);
  Speech speech{};
  Stopwatch watch;
  Tensors encoded = encode(request.ids);
  speech.encoder_seconds = watch.lap();
  const auto loop = context_->start(std::move(encoded));
  const Decoded decoded = decode(*loop, noise, manifest, request.decoding, [](const Decoded&) {});
  speech.decoder_seconds = watch.lap();
  Postnet postnet(*context_, manifest);
  postnet.advance(decoded);
  speech.mel = postnet.mel();
  speech.postnet_seconds = watch.lap();
  VocoderOptions whole = request.vocoding;
  whole.context_frames = -1;
  speech.samples = Vocoder(*context_, manifest, noise, whole).samples(speech.mel);
  speech.vocoder_seconds = watch.lap();
  speech.samples.resize(static_cast<std::size_t>(decoded.mel_length * manifest.hop_length));
  cut(speech.mel, decoded.mel_length);
  speech.stop_reason = reason(decoded);
  return speech;
}

tacoglow_stop_reason Session::stream(const Request& request, const OnChunk& on_chunk) {
  const Manifest& manifest = voice_->manifest;
  const Noise noise(request.seed, request.utterance);
  const auto loop = context_->start(encode(request.ids));
  Postnet postnet(*context_, manifest);
  const Vocoder vocoder(*context_, manifest, noise, request.vocoding);
  const std::int64_t context = request.vocoding.context_frames;
  const std::int64_t lookahead = context < 0 ? manifest.frames_after : std::min(manifest.frames_after, context);
  std::int64_t start = 0, size = request.first_chunk_frames;
  const Decoded decoded = decode(*loop, noise, manifest, request.decoding, [&](const Decoded& so_far) {
    const auto is_ready = [&] {
      return so_far.finished ? start < so_far.mel_length
                             : so_far.frames_decoded >= start + size + lookahead + manifest.postnet_frames;
    };
    while (is_ready()) {
      postnet.advance(so_far);
      const std::int64_t stop = std::min(start + size, so_far.mel_length);
      on_chunk(vocoder.window(postnet.mel(), start, stop));
      start = stop;
      size = request.chunk_frames;
    }
  });
  return reason(decoded);
}

Tensors Session::encode(const std::vector<std::int32_t>& ids) {
  const auto length = static_cast<std::int64_t>(ids.size());
  Tensors inputs;
  Tensor& tokens = inputs["token_ids"] = Tensor(DType::int32, {1, length});
  std::copy(ids.begin(), ids.end(), tokens.as<std::int32_t>());
  Tensor& lengths = inputs["token_lengths"] = Tensor(DType::int32, {1});
  *lengths.as<std::int32_t>() = static_cast<std::int32_t>(length);
  const Tensors outputs = context_->run("encoder", inputs);
  const std::int64_t bucket = token_bucket(length, voice_->manifest.dimensions.at('T').max);
  Tensors encoded;
  for (const auto& [name, tensor] : outputs) encoded[name] = padded(tensor, bucket, name == "memory_mask" ? 1 : 0);
  return encoded;
}

}  // namespace tacoglow
