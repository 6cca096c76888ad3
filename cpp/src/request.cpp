#include "request.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <utility>

#include "error.hpp"

namespace tacoglow {
namespace {

constexpr std::int32_t retries_max = 100, default_retries = 2;
constexpr double rate_min = 0.5, rate_max = 2.0, volume_max = 4.0;
constexpr std::int64_t attention_patience = 24;  // of a voice whose sentences could not be measured

void check_ids(const Voice& voice, const tacoglow_request& given) {
  const auto max_tokens = static_cast<std::size_t>(voice.facts.max_tokens);
  if (given.n_ids < 1 || given.n_ids > max_tokens)
    throw request_error("request: expected 1 to " + std::to_string(max_tokens) + " tokens, got " +
                        std::to_string(given.n_ids) + "; split the text into sentences");
  for (std::size_t i = 0; i < given.n_ids; ++i)
    if (given.ids[i] < 0 || given.ids[i] >= voice.facts.n_symbols)
      throw request_error("request: expected token ids from 0 to " + std::to_string(voice.facts.n_symbols - 1) +
                          ", got " + std::to_string(given.ids[i]));
}

std::vector<Piece> resolve_pieces(const Voice& voice, const tacoglow_request& given) {
  if ((given.text == nullptr) == (given.ids == nullptr)) throw request_error("request: give either text or ids");
  if (given.text != nullptr) return voice.front_end().prepare(given.text, text_options(voice, given)).pieces;
  check_ids(voice, given);
  return {{"", {given.ids, given.ids + given.n_ids}, 0.0}};
}

std::string to_text(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

void check_number(const char* name, double value) {
  if (!std::isfinite(value))
    throw request_error(std::string(name) + ": expected a finite number, got " + to_text(value));
}

void check_range(const char* name, double value, double least, double most, const char* otherwise = "") {
  if (value < least || value > most)
    throw request_error(std::string(name) + ": expected a number from " + to_text(least) + " to " + to_text(most) +
                        otherwise + ", got " + to_text(value));
}

double resolve_threshold(const Manifest& manifest, double given) {
  const double threshold = given == 0.0 ? manifest.gate_threshold : given;
  if (threshold <= 0.0 || threshold >= 1.0)
    throw request_error("gate_threshold: expected a probability between 0 and 1, got " + to_text(threshold));
  return threshold;
}

// Returns the frame limit, rounded down to whole decoder steps.
std::int64_t resolve_max_frames(const Manifest& manifest, std::int32_t given) {
  const std::int64_t limit = manifest.max_frames, step = manifest.frames_per_step;
  const std::int64_t frames = given == 0 ? limit : given;
  if (frames < step || frames > limit)
    throw request_error("max_frames: expected " + std::to_string(step) + " to " + std::to_string(limit) +
                        " (this bundle's limit), got " + std::to_string(frames) +
                        "; a longer one needs export-onnx --max-frames");
  return frames - frames % step;
}

std::int64_t resolve_patience(const Manifest& manifest, std::int32_t attention_stop) {
  if (attention_stop < 0) return 0;
  if (manifest.ending.attention_patience > 0) return manifest.ending.attention_patience;
  return attention_stop > 0 ? attention_patience : 0;
}

std::uint64_t resolve_retries(const Manifest& manifest, std::int32_t given) {
  if (given < -1 || given > retries_max)
    throw request_error("retries: expected 0 to " + std::to_string(retries_max) + ", got " + std::to_string(given));
  if (given < 0) return manifest.ending.frames > 0 ? default_retries : 0;
  return static_cast<std::uint64_t>(given);
}

std::int64_t resolve_segment(const std::string& name, std::int32_t given, std::int64_t bundle_frames,
                             std::int64_t window_frames) {
  if (given > window_frames)
    throw request_error(name + ": expected at most " + std::to_string(window_frames) + ", a vocoder window, got " +
                        std::to_string(given));
  if (given < 0)
    throw request_error(name + ": expected 1 or more, or 0 for the bundle's, got " + std::to_string(given));
  return given == 0 ? bundle_frames : given;
}

}  // namespace

double Request::rate_of(std::size_t piece) const {
  return std::min(std::max(rate * pieces[piece].rate, rate_min), rate_max);
}

VocoderOptions Request::vocoding_of(std::size_t piece) const {
  VocoderOptions own = vocoding;
  own.volume = std::min(own.volume * pieces[piece].volume, volume_max);
  return own;
}

TextOptions text_options(const Voice& voice, const tacoglow_request& given) {
  return {voice.facts.max_tokens, given.sentence_silence, given.lexicon != nullptr ? given.lexicon : "",
          given.ssml != 0};
}

Request resolve_request(const Voice& voice, const tacoglow_request& given) {
  for (const auto& [name, value] : {std::pair{"sigma", given.sigma},
                                    {"denoise", given.denoise},
                                    {"gate_threshold", given.gate_threshold},
                                    {"rate", given.rate},
                                    {"volume", given.volume},
                                    {"sentence_silence", given.sentence_silence}})
    check_number(name, value);
  if (given.sigma >= 0.0) check_range("sigma", given.sigma, 0.0, strength_max);
  check_range("denoise", given.denoise, 0.0, strength_max);
  check_range("rate", given.rate, rate_min, rate_max);
  check_range("volume", given.volume, 0.0, volume_max);
  if (given.sentence_silence >= 0.0)
    check_range("sentence_silence", given.sentence_silence, 0.0, 10.0, " seconds, or negative for none");
  if (given.attention_window < 0)
    throw request_error("attention_window: expected 1 token or more, or 0 for all, got " +
                        std::to_string(given.attention_window));
  if (given.sigma >= 0.0 && !voice.manifest.takes_noise())
    throw request_error("sigma: this voice's vocoder is HiFi-GAN, which takes no noise; leave sigma negative, got " +
                        to_text(given.sigma));
  const DecodeOptions decoding = {resolve_threshold(voice.manifest, given.gate_threshold),
                                  resolve_max_frames(voice.manifest, given.max_frames),
                                  resolve_patience(voice.manifest, given.attention_stop), given.attention_window,
                                  given.attention_stop < 0 ? Ending{} : voice.manifest.ending};
  const Synthesis& defaults = voice.manifest.synthesis;
  const VocoderOptions vocoding = {
      given.sigma < 0.0 ? voice.manifest.sigma : given.sigma, given.denoise,
      given.context_frames == TACOGLOW_BUNDLE_CONTEXT ? defaults.context_frames : given.context_frames, given.volume};
  return {resolve_pieces(voice, given),
          given.seed,
          given.utterance,
          decoding,
          vocoding,
          resolve_segment("first_segment_frames", given.first_segment_frames, defaults.first_segment_frames,
                          defaults.window_frames),
          resolve_segment("segment_frames", given.segment_frames, defaults.segment_frames, defaults.window_frames),
          resolve_retries(voice.manifest, given.retries),
          given.progress,
          given.progress_user,
          given.rate,
          given.trim_silence != 0};
}

}  // namespace tacoglow
