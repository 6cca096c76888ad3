#include "utterance.hpp"

#include <cmath>

#include "pieces.hpp"
#include "stretch.hpp"
#include "trimming.hpp"
#include "utterance_windows.hpp"

namespace tacoglow {
namespace {

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

Utterance describe(const Voice& voice, const Piece& piece, const DecodedItem& item, const Mel& mel) {
  const Manifest& manifest = voice.manifest;
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
  utterance.faults = describe_faults(voice, piece, decoded);
  return utterance;
}

Utterance finish(BackendInstance& backend, const Voice& voice, const Request& request, std::size_t piece,
                 const DecodedItem& item, const std::function<void(std::int64_t)>& before_window, Seconds& seconds) {
  UtteranceWindows windows(backend, voice.manifest, request, piece, item, UtteranceWindows::Cut::whole);
  std::vector<float> samples;
  samples.reserve(static_cast<std::size_t>(stretched_frames(item.decoded.mel_length, request.rate_of(piece)) *
                                           voice.manifest.hop_length));
  for (bool is_last = false; !is_last;) {
    Stopwatch watch;
    const Window window = windows.next();
    seconds.postnet += watch.lap();
    before_window(window.start);
    const std::vector<float> own = window.samples(backend, voice.manifest);
    samples.insert(samples.end(), own.begin(), own.end());
    seconds.vocoder += watch.lap();
    is_last = window.is_last;
  }
  Utterance utterance = describe(voice, request.pieces[piece], item, windows.mel());
  utterance.n_samples = samples.size();
  utterance.samples = std::move(samples);
  return utterance;
}

bool report_progress(const Request& request, std::size_t piece, std::int64_t frames_decoded,
                     std::int64_t frames_vocoded) {
  if (request.progress == nullptr) return true;
  const tacoglow_progress progress = {piece, request.pieces.size(), static_cast<std::size_t>(frames_decoded),
                                      static_cast<std::size_t>(frames_vocoded)};
  return request.progress(&progress, request.progress_user) == 0;
}

void place_segment(const Voice& voice, const std::vector<Piece>& pieces, std::size_t index, bool is_first, bool is_last,
                   std::vector<float> samples, const std::function<void(std::vector<float>)>& put) {
  const std::int64_t rate = voice.manifest.sampling_rate;
  const Piece& piece = pieces[index];
  const bool fades_in = is_first && (index > 0 || piece.pause_before > 0.0);
  const bool fades_out = is_last && (index + 1 < pieces.size() || piece.pause > 0.0);
  if (fades_in || fades_out)
    apply_fades(samples.data(), samples.size(), voice.front_end().pauses().fade, rate, fades_in, fades_out);
  if (is_first) put(std::vector<float>(count_silence(piece.pause_before, rate)));
  put(std::move(samples));
  if (is_last) put(std::vector<float>(count_silence(piece.pause, rate)));
}

void join(const Voice& voice, const Request& request, Speech& speech) {
  const std::vector<Piece>& pieces = request.pieces;
  std::vector<float>& joined = speech.samples;
  const auto append = [&](const std::vector<float>& samples) {
    joined.insert(joined.end(), samples.begin(), samples.end());
  };
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    Utterance& utterance = speech.utterances[i];
    utterance.first_sample =
        static_cast<std::int64_t>(joined.size() + count_silence(pieces[i].pause_before, voice.manifest.sampling_rate));
    place_segment(voice, pieces, i, true, true, utterance.samples, append);
  }
  if (request.trim_silence) {
    SilenceTrimmer trimmer(voice.manifest.sampling_rate, request.vocoding.volume);
    joined = trimmer.push(joined, true);
    for (Utterance& utterance : speech.utterances) utterance.first_sample -= trimmer.lead();
  }
  sum_up(voice, speech);
}

void sum_up(const Voice& voice, Speech& speech) {
  for (const Utterance& utterance : speech.utterances)
    if (speech.stop_reason == TACOGLOW_STOP_GATE) speech.stop_reason = utterance.stop_reason;
  join_mels(voice.manifest.n_mel_channels, speech);
}

}  // namespace tacoglow
