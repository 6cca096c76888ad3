#include "pieces.hpp"

#include <algorithm>
#include <locale>
#include <sstream>

#include "error.hpp"

namespace tacoglow {
namespace {

constexpr double silence_max = 120.0;  // seconds for one request: silence costs memory but no computation

double longest_pause(const Pauses& pauses) {
  double longest = pauses.paragraph;
  for (const auto& [marks, seconds] : pauses.by_mark) longest = std::max(longest, seconds);
  return longest;
}

}  // namespace

void apply_fades(float* samples, std::size_t n_samples, double fade_seconds, std::int64_t sampling_rate, bool fade_in,
                 bool fade_out) {
  const auto length = std::min(static_cast<std::size_t>(fade_seconds * static_cast<double>(sampling_rate)), n_samples);
  const auto gain = [&](std::size_t i) {
    return static_cast<float>(static_cast<double>(i) * (1.0 / static_cast<double>(length)));
  };
  for (std::size_t i = 0; fade_in && i < length; ++i) samples[i] *= gain(i);
  for (std::size_t i = 0; fade_out && i < length; ++i) samples[n_samples - 1 - i] *= gain(i);
}

std::size_t count_silence(double seconds, std::int64_t sampling_rate) {
  return static_cast<std::size_t>(seconds * static_cast<double>(sampling_rate));
}

void check_silence(const Voice& voice, const std::vector<Piece>& pieces) {
  double asked = 0.0;
  for (const Piece& piece : pieces)
    for (const double pause : {piece.pause_before, piece.pause})
      if (pause > 0.0 && pause > longest_pause(voice.front_end().pauses())) asked += pause;
  if (asked <= silence_max + 1e-6) return;  // sums of decimals are inexact
  std::ostringstream message;
  message.imbue(std::locale::classic());
  message << "text: expected at most " << silence_max << " seconds of pauses, got " << asked;
  throw request_error(message.str());
}

}  // namespace tacoglow
