#include "synthesizer.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "postnet.hpp"

namespace tacoglow {
namespace {

// Returns the padded length at which an item is decoded, the same as in Python. The length matters because a softmax
// sums a longer row in a different order, and the decoder loop amplifies that rounding.
std::int64_t token_bucket(std::int64_t length, const Manifest& manifest) {
  std::int64_t bucket = manifest.synthesis.smallest_token_bucket;
  while (bucket < length) bucket *= 2;
  return std::min(bucket, manifest.dimensions.at('T').max);
}

// [1, T, ...] -> [1, tokens, ...], with the new elements filled with bytes of `padding`.
Tensor pad(const Tensor& tensor, std::int64_t tokens, int padding) {
  Shape shape = tensor.shape();
  shape[1] = tokens;
  Tensor result(tensor.dtype(), shape);
  std::memset(result.data(), padding, result.size_bytes());
  std::memcpy(result.data(), tensor.data(), tensor.size_bytes());
  return result;
}

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

tacoglow_stop_reason reason(const Decoded& decoded) {
  return decoded.gate_fired ? TACOGLOW_STOP_GATE : TACOGLOW_STOP_FRAME_LIMIT;
}

void truncate(Mel& mel, std::int64_t n_frames) {
  const Tensor front = mel.window(0, n_frames);
  mel = {mel.n_channels, n_frames, {front.as<float>(), front.as<float>() + element_count(front.shape())}};
}

using Rows = std::vector<std::size_t>;  // indices of requests

// Returns batches of one token bucket each, with at most the bundle's batch size.
std::vector<Rows> group_into_batches(const std::vector<Request>& requests, const Manifest& manifest) {
  const auto max_batch = static_cast<std::size_t>(manifest.dimensions.at('B').max);
  std::map<std::int64_t, Rows> filling;  // by bucket
  std::vector<Rows> batches;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto length = static_cast<std::int64_t>(requests[i].ids.size());
    Rows& rows = filling[token_bucket(length, manifest)];
    rows.push_back(i);
    if (rows.size() == max_batch) batches.push_back(std::exchange(rows, {}));
  }
  for (auto& [bucket, rows] : filling)
    if (!rows.empty()) batches.push_back(std::move(rows));
  return batches;
}

// Tensors [1, ...] of the same shape -> one tensor [B, ...].
Tensor stack(const std::vector<const Tensor*>& items) {
  Shape shape = items.front()->shape();
  shape[0] = static_cast<std::int64_t>(items.size());
  Tensor result(items.front()->dtype(), shape);
  auto* target = static_cast<unsigned char*>(result.data());
  for (const Tensor* item : items) {
    std::memcpy(target, item->data(), item->size_bytes());
    target += item->size_bytes();
  }
  return result;
}

}  // namespace

Session::Session(std::shared_ptr<const Voice> voice)
    : voice_(std::move(voice)), backend_(voice_->backend->create_instance()) {}

std::vector<Speech> Session::speak(const std::vector<Request>& requests) {
  std::vector<Speech> speeches(requests.size());
  for (const Rows& rows : group_into_batches(requests, voice_->manifest)) {
    Stopwatch watch;
    std::vector<Utterance> batch;
    for (const auto row : rows)
      batch.push_back({requests[row], encode(requests[row].ids), {requests[row].noise, {}, {}}});
    const double encoder_seconds = watch.lap();
    decode_all(batch);
    const double decoder_seconds = watch.lap();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Speech& speech = speeches[rows[i]] = to_speech(batch[i]);
      speech.encoder_seconds = encoder_seconds;
      speech.decoder_seconds = decoder_seconds;
    }
  }
  return speeches;
}

// Decodes a batch. Items that reach the frame limit are decoded again with retry noise, up to their number of retries.
void Session::decode_all(std::vector<Utterance>& batch) {
  Rows rows(batch.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  for (std::uint64_t attempt = 0; !rows.empty(); ++attempt) {
    std::vector<DecodedItem> items;
    for (const auto row : rows) {
      const Request& request = batch[row].request;
      items.push_back({request.noise.for_attempt(attempt), request.decoding, {}});
    }
    Tensors encoded;
    for (const auto& [name, tensor] : batch[rows.front()].encoded) {
      std::vector<const Tensor*> parts;
      for (const auto row : rows) parts.push_back(&batch[row].encoded.at(name));
      encoded[name] = stack(parts);
    }
    const auto steps = backend_->start(std::move(encoded));
    decode(*steps, voice_->manifest, items, [] {});
    Rows unfinished;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Utterance& utterance = batch[rows[i]];
      utterance.item = std::move(items[i]);
      if (!utterance.item.decoded.gate_fired && attempt < utterance.request.retries) unfinished.push_back(rows[i]);
    }
    rows = std::move(unfinished);
  }
}

Speech Session::to_speech(const Utterance& utterance) {
  const Manifest& manifest = voice_->manifest;
  const Decoded& decoded = utterance.item.decoded;
  Speech speech{};
  Stopwatch watch;
  Postnet postnet(*backend_, manifest);
  postnet.advance(decoded);
  speech.mel = postnet.mel();
  speech.postnet_seconds = watch.lap();
  VocoderOptions options = utterance.request.vocoding;
  options.context_frames = -1;  // the receptive field
  speech.samples = Vocoder(*backend_, manifest, utterance.item.noise, options).samples(speech.mel);
  speech.vocoder_seconds = watch.lap();
  speech.samples.resize(static_cast<std::size_t>(decoded.mel_length * manifest.hop_length));
  truncate(speech.mel, decoded.mel_length);
  speech.stop_reason = reason(decoded);
  return speech;
}

tacoglow_stop_reason Session::stream(const Request& request, const OnSegment& on_segment) {
  const Manifest& manifest = voice_->manifest;
  const auto steps = backend_->start(encode(request.ids));
  std::vector<DecodedItem> items = {{request.noise, request.decoding, {}}};
  const Decoded& decoded = items[0].decoded;
  Postnet postnet(*backend_, manifest);
  const Vocoder vocoder(*backend_, manifest, request.noise, request.vocoding);
  const std::int64_t context = request.vocoding.context_frames;
  const std::int64_t lookahead = context < 0 ? manifest.frames_after : std::min(manifest.frames_after, context);
  std::int64_t start = 0, size = request.first_segment_frames;
  const auto is_ready = [&] {
    return decoded.finished ? start < decoded.mel_length
                            : decoded.frames_decoded >= start + size + lookahead + manifest.postnet_frames;
  };
  decode(*steps, manifest, items, [&] {
    while (is_ready()) {
      postnet.advance(decoded);
      const std::int64_t stop = std::min(start + size, decoded.mel_length);
      on_segment(vocoder.window(postnet.mel(), start, stop));
      start = stop;
      size = request.segment_frames;
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
  const Tensors outputs = backend_->run("encoder", inputs);
  const std::int64_t bucket = token_bucket(length, voice_->manifest);
  Tensors encoded;
  for (const auto& [name, tensor] : outputs) encoded[name] = pad(tensor, bucket, name == "memory_mask" ? 1 : 0);
  return encoded;
}

}  // namespace tacoglow
