#include "synthesizer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "error.hpp"
#include "pieces.hpp"
#include "postnet.hpp"
#include "stretch.hpp"
#include "utterance_windows.hpp"

namespace tacoglow {
namespace {

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

// Returns the first n_frames frames as [n_channels, n_frames].
std::vector<float> transpose(const Mel& mel, std::int64_t n_frames) {
  std::vector<float> rows;
  rows.reserve(static_cast<std::size_t>(mel.n_channels() * n_frames));
  for (std::int64_t channel = 0; channel < mel.n_channels(); ++channel)
    for (std::int64_t frame = 0; frame < n_frames; ++frame) rows.push_back(mel.frame(frame)[channel]);
  return rows;
}

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

}  // namespace

Session::Session(std::shared_ptr<const Voice> voice)
    : voice_(std::move(voice)), backend_(voice_->backend->create_instance()) {}

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

Utterance Session::to_utterance(const Job& job, Speech& speech) {
  const Manifest& manifest = voice_->manifest;
  const Decoded& decoded = job.item.decoded;
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
  std::vector<float> samples =
      vocoder.samples(rate != 1.0 ? stretched : postnet.mel(), [&](std::int64_t done) { job.report(decoded, done); });
  speech.vocoder_seconds += watch.lap();
  Utterance utterance = describe(job.piece(), job.item, postnet.mel());
  utterance.n_samples = static_cast<std::size_t>(stretched_frames(decoded.mel_length, rate) * manifest.hop_length);
  utterance.samples = std::move(samples);
  utterance.samples.resize(utterance.n_samples);
  return utterance;
}

// Returns a decoded piece without its samples. mel: after the postnet.
Utterance Session::describe(const Piece& piece, const DecodedItem& item, const Mel& mel) const {
  const Manifest& manifest = voice_->manifest;
  const Decoded& decoded = item.decoded;
  Utterance utterance;
  utterance.n_frames = decoded.mel_length;
  utterance.mel = transpose(mel, decoded.mel_length);
  utterance.piece = piece;
  utterance.gate = repeat_per_frame(decoded.gate_logits, 1, manifest, decoded.mel_length);
  for (float& value : utterance.gate) value = 1.0F / (1.0F + std::exp(-value));
  utterance.alignment =
      repeat_per_frame(decoded.alignment, static_cast<std::size_t>(item.n_tokens), manifest, decoded.mel_length);
  utterance.stop_reason = decoded.stop_reason();
  utterance.faults = describe_faults(*voice_, piece, decoded);
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
  }
  sum_up(speech);
}

// Fills in what a request's utterances have in common.
void Session::sum_up(Speech& speech) const {
  for (const Utterance& utterance : speech.utterances)
    if (speech.stop_reason == TACOGLOW_STOP_GATE) speech.stop_reason = utterance.stop_reason;
  join_mels(voice_->manifest.n_mel_channels, speech);
}

Speech Session::stream(const Request& request, const OnSegment& on_segment) {
  Speech speech;
  std::size_t sent = 0;  // samples
  const auto send = [&](const std::vector<float>& samples) {
    if (!samples.empty()) on_segment(samples);
    sent += samples.size();
  };
  for (std::size_t i = 0; i < request.pieces.size(); ++i) {
    send(silence(request.pieces[i].pause_before, voice_->manifest.sampling_rate));
    const std::size_t first = sent;
    speech.utterances.push_back(stream_piece(request, i, send));
    speech.utterances.back().first_sample = first;
    speech.utterances.back().n_samples = sent - first;
    send(silence(request.pieces[i].pause, voice_->manifest.sampling_rate));
  }
  sum_up(speech);
  return speech;
}

Utterance Session::stream_piece(const Request& request, std::size_t index, const OnSegment& on_segment) {
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
    on_segment(segment.samples);
  }
  return describe(request.pieces[index], items[0], windows.mel());
}

}  // namespace tacoglow
