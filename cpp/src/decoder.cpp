#include "decoder.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tacoglow {
void DecodedItem::reserve(const Manifest& manifest) {
  const auto steps = static_cast<std::size_t>(step_limit(manifest));
  decoded = Decoded();
  decoded.mel = Mel(manifest.n_mel_channels, options.max_frames);
  decoded.gate_logits.reserve(steps);
  decoded.alignment.reserve(steps * static_cast<std::size_t>(n_tokens));
}

void DecodedItem::append(const float* mel, float gate_logit, const float* attention, const Manifest& manifest) {
  if (decoded.finished) return;
  const std::int64_t frames = manifest.frames_per_step;
  decoded.mel.append(mel, frames * manifest.n_mel_channels);
  decoded.gate_logits.push_back(gate_logit);
  decoded.alignment.insert(decoded.alignment.end(), attention, attention + n_tokens);
  decoded.frames_decoded += frames;
  decoded.gate_fired = gate_logit > options.gate_logit();
  decoded.mel_length += decoded.gate_fired ? 0 : frames;
  if (options.attention_patience > 0) {
    const bool at_last = std::max_element(attention, attention + n_tokens) == attention + n_tokens - 1;
    decoded.frames_at_end = at_last ? decoded.frames_at_end + frames : 0;
    decoded.attention_ended = !decoded.gate_fired && decoded.frames_at_end >= options.attention_patience;
  }
  decoded.finished = decoded.gate_fired || decoded.attention_ended || decoded.frames_decoded == options.max_frames;
}

tacoglow_stop_reason Decoded::stop_reason() const {
  if (attention_ended) return TACOGLOW_STOP_ATTENTION_END;
  return gate_fired ? TACOGLOW_STOP_GATE : TACOGLOW_STOP_FRAME_LIMIT;
}

float DecodeOptions::gate_logit() const {
  return static_cast<float>(std::log(gate_threshold / (1.0 - gate_threshold)));
}

DecodeOptions DecodeOptions::of(std::int64_t n_tokens, std::int64_t frames_per_step) const {
  DecodeOptions own = *this;
  if (ending.frames == 0) return own;
  const auto tokens = static_cast<double>(n_tokens);
  const std::int64_t limit =
      std::min(max_frames, ending.frames + static_cast<std::int64_t>(ending.frames_per_token * tokens));
  own.max_frames = std::max(limit - limit % frames_per_step, frames_per_step);
  return own;
}

Decoding::Decoding(BackendInstance& backend, const Manifest& manifest, Tensors encoded, std::vector<DecodedItem*> items)
    : manifest_(manifest), items_(std::move(items)), padded_tokens_(encoded.at("memory").shape()[1]) {
  DecoderInput input{std::move(encoded), {}, {}, -std::numeric_limits<float>::infinity()};
  for (DecodedItem* item : items_) {
    item->reserve(manifest);
    input.noises.push_back(item->noise);
    input.attention_windows.push_back(item->options.attention_window);
    input.gate_logit = std::max(input.gate_logit, item->options.gate_logit());
    step_limit_ = std::max(step_limit_, item->step_limit(manifest));
  }
  steps_ = backend.start(std::move(input));
}

bool Decoding::running() const {
  return std::any_of(items_.begin(), items_.end(), [](const DecodedItem* item) { return !item->decoded.finished; });
}

void Decoding::launch_ahead() {
  for (; in_flight_ < steps_->launches_in_flight() && launched_ < step_limit_; ++in_flight_) {
    steps_->launch();
    launched_ += steps_->chunk_steps();
  }
}

void Decoding::read_chunk() {
  launch_ahead();
  const DecoderSteps::Chunk chunk = steps_->read();
  --in_flight_;
  const auto batch = static_cast<std::int64_t>(items_.size());
  const std::int64_t step_size = manifest_.frames_per_step * manifest_.n_mel_channels;
  for (std::int64_t i = 0; i < steps_->chunk_steps() * batch; ++i)
    items_[static_cast<std::size_t>(i % batch)]->append(chunk.mel + i * step_size, chunk.gate_logits[i],
                                                        chunk.attention_weights + i * padded_tokens_, manifest_);
}

}  // namespace tacoglow
