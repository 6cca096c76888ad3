#include "synthesizer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "error.hpp"
#include "pieces.hpp"
#include "postnet.hpp"
#include "stretch.hpp"
#include "utterance_windows.hpp"

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
  if (decoded.attention_ended) return TACOGLOW_STOP_ATTENTION_END;
  return decoded.gate_fired ? TACOGLOW_STOP_GATE : TACOGLOW_STOP_FRAME_LIMIT;
}

// Returns the first n_frames frames as [n_channels, n_frames].
std::vector<float> transpose(const Mel& mel, std::int64_t n_frames) {
  std::vector<float> rows;
  rows.reserve(static_cast<std::size_t>(mel.n_channels() * n_frames));
  for (std::int64_t channel = 0; channel < mel.n_channels(); ++channel)
    for (std::int64_t frame = 0; frame < n_frames; ++frame) rows.push_back(mel.frame(frame)[channel]);
  return rows;
}

using Rows = std::vector<std::size_t>;  // indices of a batch's jobs

// Values of one decoder step each -> one per frame, up to n_frames.
std::vector<float> repeat_per_frame(const std::vector<float>& values, std::size_t width, const Manifest& manifest,
                                    std::int64_t n_frames) {
  std::vector<float> repeated;
  repeated.reserve(width * static_cast<std::size_t>(n_frames));
  for (std::int64_t frame = 0; frame < n_frames; ++frame) {
    const float* row = values.data() + static_cast<std::size_t>(frame / manifest.frames_per_step) * width;
    repeated.insert(repeated.end(), row, row + width);
  }
  return repeated;
}

// Runs `work`; an error of a request in a batch begins with the request's index.
template <typename Work>
void name_request(std::size_t index, std::size_t n_requests, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (n_requests == 1 || error.status == TACOGLOW_CANCELLED) throw;
    throw Error(error.status, "request " + std::to_string(index) + ": " + error.what());
  }
}

// Joins the utterances' mels, [n_channels, ...], one after the other.
void join_mels(std::int64_t n_channels, Speech& speech) {
  for (const Utterance& utterance : speech.utterances) speech.n_frames += utterance.n_frames;
  speech.mel.reserve(static_cast<std::size_t>(n_channels * speech.n_frames));
  for (std::int64_t channel = 0; channel < n_channels; ++channel)
    for (const Utterance& utterance : speech.utterances) {
      const float* row = utterance.mel.data() + channel * utterance.n_frames;
      speech.mel.insert(speech.mel.end(), row, row + utterance.n_frames);
    }
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

void Session::Job::report(const Decoded& decoded, std::int64_t frames_vocoded) const {
  if (request.progress == nullptr) return;
  const tacoglow_progress progress = {piece_index, request.pieces.size(),
                                      static_cast<std::size_t>(decoded.frames_decoded),
                                      static_cast<std::size_t>(frames_vocoded)};
  if (request.progress(&progress, request.progress_user) != 0)
    throw Error(TACOGLOW_CANCELLED, "the callback asked to stop");
}

// Returns batches of one token bucket each, with at most the bundle's batch size.
std::vector<Session::Jobs> Session::group_into_batches(const std::vector<Request>& requests) const {
  const Manifest& manifest = voice_->manifest;
  const auto max_batch = static_cast<std::size_t>(manifest.dimensions.at('B').max);
  std::map<std::int64_t, Jobs> filling;  // by bucket
  std::vector<Jobs> batches;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Request& request = requests[i];
    for (std::size_t k = 0; k < request.pieces.size(); ++k) {
      const auto length = static_cast<std::int64_t>(request.pieces[k].ids.size());
      Jobs& jobs = filling[token_bucket(length, manifest)];
      jobs.push_back(
          {i, k, request, {}, {length, request.noise(k), request.decoding.of(length, manifest.frames_per_step), {}}});
      if (jobs.size() == max_batch) batches.push_back(std::exchange(jobs, {}));
    }
  }
  for (auto& [bucket, jobs] : filling)
    if (!jobs.empty()) batches.push_back(std::move(jobs));
  return batches;
}

std::vector<Speech> Session::speak(const std::vector<Request>& requests) {
  std::vector<Speech> speeches(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) speeches[i].utterances.resize(requests[i].pieces.size());
  for (Jobs& batch : group_into_batches(requests)) {
    Stopwatch watch;
    for (Job& job : batch)
      name_request(job.request_index, requests.size(), [&] { job.encoded = encode(job.piece().ids); });
    const double encoder_seconds = watch.lap();
    decode_all(batch);
    const double decoder_seconds = watch.lap();
    std::size_t counted = requests.size();  // the request whose share of this batch's time was counted last
    for (const Job& job : batch) {
      Speech& speech = speeches[job.request_index];
      name_request(job.request_index, requests.size(),
                   [&] { speech.utterances[job.piece_index] = to_utterance(job, speech); });
      if (std::exchange(counted, job.request_index) == job.request_index) continue;
      speech.encoder_seconds += encoder_seconds;
      speech.decoder_seconds += decoder_seconds;
    }
  }
  for (std::size_t i = 0; i < requests.size(); ++i) join(requests[i].pieces, speeches[i]);
  return speeches;
}

// Decodes a batch. Items that reach the frame limit are decoded again with retry noise, up to their number of retries.
void Session::decode_all(Jobs& batch) {
  Rows rows(batch.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  for (std::uint64_t attempt = 0; !rows.empty(); ++attempt) {
    std::vector<DecodedItem> items;
    for (const auto row : rows) {
      const Job& job = batch[row];
      items.push_back(
          {job.item.n_tokens, job.request.noise(job.piece_index).for_attempt(attempt), job.item.options, {}});
    }
    Tensors encoded;
    for (const auto& [name, tensor] : batch[rows.front()].encoded) {
      std::vector<const Tensor*> parts;
      for (const auto row : rows) parts.push_back(&batch[row].encoded.at(name));
      encoded[name] = stack(parts);
    }
    Decoding decoding(*backend_, voice_->manifest, std::move(encoded), items);
    while (decoding.running()) {
      decoding.read_chunk();
      for (std::size_t i = 0; i < rows.size(); ++i) batch[rows[i]].report(items[i].decoded, 0);
    }
    Rows unfinished;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Job& job = batch[rows[i]];
      job.item = std::move(items[i]);
      if (reason(job.item.decoded) == TACOGLOW_STOP_FRAME_LIMIT && attempt < job.request.retries)
        unfinished.push_back(rows[i]);
    }
    rows = std::move(unfinished);
  }
}

Utterance Session::to_utterance(const Job& job, Speech& speech) {
  const Manifest& manifest = voice_->manifest;
  const Decoded& decoded = job.item.decoded;
  Utterance utterance;
  Stopwatch watch;
  Postnet postnet(*backend_, manifest, decoded, decoded.frames_decoded);
  postnet.advance(decoded.frames_decoded, true);
  speech.postnet_seconds += watch.lap();
  VocoderOptions options = job.request.vocoding_of(job.piece_index);
  options.context_frames = -1;  // the receptive field
  const Vocoder vocoder(*backend_, manifest, job.item.noise, options);
  const double rate = job.request.rate_of(job.piece_index);
  const std::int64_t n_stretched = stretched_frames(decoded.frames_decoded, rate);
  Mel stretched(manifest.n_mel_channels, rate != 1.0 ? n_stretched : 0);
  if (rate != 1.0) stretch(postnet.mel(), rate, n_stretched, stretched);
  utterance.samples =
      vocoder.samples(rate != 1.0 ? stretched : postnet.mel(), [&](std::int64_t done) { job.report(decoded, done); });
  speech.vocoder_seconds += watch.lap();
  utterance.samples.resize(static_cast<std::size_t>(stretched_frames(decoded.mel_length, rate) * manifest.hop_length));
  utterance.n_frames = decoded.mel_length;
  utterance.mel = transpose(postnet.mel(), decoded.mel_length);
  utterance.piece = job.piece();
  utterance.gate = repeat_per_frame(decoded.gate_logits, 1, manifest, decoded.mel_length);
  for (float& value : utterance.gate) value = 1.0F / (1.0F + std::exp(-value));
  utterance.alignment =
      repeat_per_frame(decoded.alignment, static_cast<std::size_t>(job.item.n_tokens), manifest, decoded.mel_length);
  utterance.stop_reason = reason(decoded);
  return utterance;
}

// Lets samples of a piece rise from silence if they begin it, and fall to it if they end it, next to a pause.
void Session::fade(const std::vector<Piece>& pieces, std::size_t index, bool is_first, bool is_last, float* samples,
                   std::size_t n_samples) const {
  const bool fades_in = is_first && (index > 0 || pieces[index].pause_before > 0.0);
  const bool fades_out = is_last && (index + 1 < pieces.size() || pieces[index].pause > 0.0);
  if (fades_in || fades_out)
    apply_fades(samples, n_samples, voice_->front_end().pauses().fade, voice_->manifest.sampling_rate, fades_in,
                fades_out);
}

// Joins the pieces of a request with pauses.
void Session::join(const std::vector<Piece>& pieces, Speech& speech) const {
  std::vector<float>& joined = speech.samples;
  const auto append = [&](const std::vector<float>& samples) {
    joined.insert(joined.end(), samples.begin(), samples.end());
  };
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    Utterance& utterance = speech.utterances[i];
    append(silence(pieces[i].pause_before, voice_->manifest.sampling_rate));
    utterance.first_sample = joined.size();
    append(utterance.samples);
    fade(pieces, i, true, true, joined.data() + utterance.first_sample, utterance.samples.size());
    append(silence(pieces[i].pause, voice_->manifest.sampling_rate));
    if (speech.stop_reason == TACOGLOW_STOP_GATE) speech.stop_reason = utterance.stop_reason;
  }
  join_mels(voice_->manifest.n_mel_channels, speech);
}

tacoglow_stop_reason Session::stream(const Request& request, const OnSegment& on_segment) {
  tacoglow_stop_reason first_reason = TACOGLOW_STOP_GATE;
  const auto pause = [&](double seconds) {
    const std::vector<float> samples = silence(seconds, voice_->manifest.sampling_rate);
    if (!samples.empty()) on_segment(samples);
  };
  for (std::size_t i = 0; i < request.pieces.size(); ++i) {
    pause(request.pieces[i].pause_before);
    const tacoglow_stop_reason own = stream_piece(request, i, on_segment);
    if (first_reason == TACOGLOW_STOP_GATE) first_reason = own;
    pause(request.pieces[i].pause);
  }
  return first_reason;
}

tacoglow_stop_reason Session::stream_piece(const Request& request, std::size_t index, const OnSegment& on_segment) {
  const std::vector<std::int32_t>& ids = request.pieces[index].ids;
  const auto length = static_cast<std::int64_t>(ids.size());
  std::vector<DecodedItem> items = {
      {length, request.noise(index), request.decoding.of(length, voice_->manifest.frames_per_step), {}}};
  const Decoded& decoded = items[0].decoded;
  Decoding decoding(*backend_, voice_->manifest, encode(ids), items);
  UtteranceWindows windows(*backend_, voice_->manifest, request, index, items[0]);
  for (bool is_last = false; !is_last;) {
    while (decoding.running() && decoded.frames_decoded < windows.frames_wanted()) decoding.read_chunk();
    UtteranceWindows::Segment segment = windows.next();
    is_last = segment.is_last;
    fade(request.pieces, index, segment.is_first, is_last, segment.samples.data(), segment.samples.size());
    if (!segment.samples.empty()) on_segment(segment.samples);
  }
  return reason(decoded);
}

Tensors Session::encode(const std::vector<std::int32_t>& ids) {
  const auto length = static_cast<std::int64_t>(ids.size());
  Tensors inputs;
  const std::int64_t bucket = token_bucket(length, voice_->manifest);
  Tensor& tokens = inputs["token_ids"] = Tensor(DType::int32, {1, backend_->pads_token_ids() ? bucket : length});
  std::copy(ids.begin(), ids.end(), tokens.as<std::int32_t>());
  Tensor& lengths = inputs["token_lengths"] = Tensor(DType::int32, {1});
  *lengths.as<std::int32_t>() = static_cast<std::int32_t>(length);
  const Tensors outputs = backend_->run("encoder", inputs);
  Tensors encoded;
  for (const auto& [name, tensor] : outputs) encoded[name] = pad(tensor, bucket, name == "memory_mask" ? 1 : 0);
  return encoded;
}

}  // namespace tacoglow
