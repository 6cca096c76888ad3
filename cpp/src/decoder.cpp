#include "decoder.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tacoglow {
namespace {

constexpr std::int64_t attention_patience = 24;  // frames on the last token after which the attention has ended

float gate_logit(double threshold) { return static_cast<float>(std::log(threshold / (1.0 - threshold))); }

// Appends one step to an item, unless the item has ended at an earlier step.
void append(DecodedItem& item, const float* mel, float gate, const float* attention, const Manifest& manifest) {
  Decoded& decoded = item.decoded;
  if (decoded.finished) return;
  const std::int64_t frames = manifest.frames_per_step;
  decoded.mel.insert(decoded.mel.end(), mel, mel + frames * manifest.n_mel_channels);
  decoded.gate_logits.push_back(gate);
  decoded.alignment.insert(decoded.alignment.end(), attention, attention + item.n_tokens);
  decoded.frames_decoded += frames;
  decoded.gate_fired = gate > gate_logit(item.options.gate_threshold);
  decoded.mel_length += decoded.gate_fired ? 0 : frames;
  if (item.options.attention_stop) {
    const bool at_last = std::max_element(attention, attention + item.n_tokens) == attention + item.n_tokens - 1;
    decoded.frames_at_end = at_last ? decoded.frames_at_end + frames : 0;
    decoded.attention_ended = !decoded.gate_fired && decoded.frames_at_end >= attention_patience;
  }
  decoded.finished = decoded.gate_fired || decoded.attention_ended || decoded.frames_decoded == item.options.max_frames;
}

}  // namespace

DecoderInput decoder_input(Tensors encoded, const std::vector<DecodedItem>& items) {
  DecoderInput input{std::move(encoded), {}, -std::numeric_limits<float>::infinity()};
  for (const auto& item : items) {
    input.noises.push_back(item.noise);
    input.gate_logit = std::max(input.gate_logit, gate_logit(item.options.gate_threshold));
  }
  return input;
}

void decode(DecoderSteps& decoder_steps, const Manifest& manifest, std::int64_t padded_tokens,
            std::vector<DecodedItem>& items, const std::function<void()>& on_chunk) {
  const auto batch = static_cast<std::int64_t>(items.size()), chunk_steps = decoder_steps.chunk_steps();
  const std::int64_t step_size = manifest.frames_per_step * manifest.n_mel_channels;
  std::int64_t limit = 0;  // steps of the item with the highest frame limit
  for (const auto& item : items) limit = std::max(limit, item.options.max_frames / manifest.frames_per_step);
  std::int64_t launched = 0, in_flight = 0;  // in steps; in launches
  const auto is_finished = [](const DecodedItem& item) { return item.decoded.finished; };
  while (!std::all_of(items.begin(), items.end(), is_finished)) {
    for (; in_flight < decoder_steps.launches_in_flight() && launched < limit; ++in_flight, launched += chunk_steps)
      decoder_steps.launch();
    const DecoderSteps::Chunk chunk = decoder_steps.read();
    --in_flight;
    for (std::int64_t i = 0; i < chunk_steps * batch; ++i)
      append(items[static_cast<std::size_t>(i % batch)], chunk.mel + i * step_size, chunk.gate_logits[i],
             chunk.attention_weights + i * padded_tokens, manifest);
    on_chunk();
  }
}

}  // namespace tacoglow
