#include "timestamps.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tacoglow {
namespace {

constexpr double least_weight = 1e-6;  // attention below this counts as this, as in Python

// In double precision, in which Python's logarithm is the same up to the last bit.
double score(double weight) { return std::log(std::max(weight, least_weight)); }

}  // namespace

std::vector<std::int64_t> token_bounds(const float* alignment, std::int64_t n_frames, std::int64_t n_tokens) {
  const auto width = static_cast<std::size_t>(n_tokens), height = static_cast<std::size_t>(n_frames);
  std::vector<std::int64_t> bounds(width + 1, 0);
  if (n_frames == 0) return bounds;
  std::vector<double> total(width);  // by token: of the best path to it, the sum of log weights
  std::transform(alignment, alignment + width, total.begin(), score);
  std::vector<std::int32_t> came_from(height * width);
  for (std::size_t frame = 1; frame < height; ++frame) {
    const float* weights = alignment + frame * width;
    double best = -std::numeric_limits<double>::infinity();
    std::int32_t origin = 0;
    for (std::size_t token = 0; token < width; ++token) {
      if (total[token] >= best) {
        best = total[token];
        origin = static_cast<std::int32_t>(token);
      }
      came_from[frame * width + token] = origin;
      total[token] = best + score(weights[token]);
    }
  }
  auto token = static_cast<std::size_t>(std::max_element(total.begin(), total.end()) - total.begin());
  std::fill(bounds.begin() + static_cast<std::ptrdiff_t>(token) + 1, bounds.end(), n_frames);
  for (std::size_t frame = height - 1; frame > 0; --frame) {
    const auto before = static_cast<std::size_t>(came_from[frame * width + token]);
    std::fill(bounds.begin() + static_cast<std::ptrdiff_t>(before) + 1,
              bounds.begin() + static_cast<std::ptrdiff_t>(token) + 1, static_cast<std::int64_t>(frame));
    token = before;
  }
  return bounds;
}

SpokenTimes time_utterance(const Voice& voice, const Utterance& utterance) {
  const auto rate = static_cast<double>(voice.manifest.sampling_rate);
  const std::vector<std::int32_t>& ids = utterance.piece.ids;
  const auto bounds =
      token_bounds(utterance.alignment.data(), utterance.n_frames, static_cast<std::int64_t>(ids.size()));
  const double start = static_cast<double>(utterance.first_sample) / rate;
  const double frame_seconds = static_cast<double>(utterance.n_samples) / rate /
                               static_cast<double>(std::max<std::int64_t>(utterance.n_frames, 1));
  const auto moment = [&](std::int64_t token) {  // not before the first sample: silence there may be left out
    return std::max(start + static_cast<double>(bounds[static_cast<std::size_t>(token)]) * frame_seconds, 0.0);
  };
  SpokenTimes times;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto token = static_cast<std::int64_t>(i);
    times.tokens.push_back({voice.name_of(ids[i]), moment(token), moment(token + 1)});
  }
  if (utterance.piece.text.empty()) return times;
  for (const SpokenWord& word : voice.front_end().words(utterance.piece.text))
    times.words.push_back({word.text, moment(word.first), moment(word.stop)});
  return times;
}

}  // namespace tacoglow
