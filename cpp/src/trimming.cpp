#include "trimming.hpp"

#include <algorithm>
#include <cmath>

namespace tacoglow {
namespace {

// As in Python's runtime/output/trimming.py.
constexpr double silence_decibels = -50.0;  // of the root mean square of a frame, at volume 1
constexpr double frame_seconds = 0.01;
constexpr std::int64_t kept_frames = 2;

}  // namespace

SilenceTrimmer::SilenceTrimmer(std::int64_t sampling_rate, double volume)
    : frame_samples_(
          std::max<std::int64_t>(1, static_cast<std::int64_t>(frame_seconds * static_cast<double>(sampling_rate)))),
      threshold_(std::pow(std::pow(10.0, silence_decibels / 20.0) * volume, 2.0)) {}

std::vector<float> SilenceTrimmer::push(const std::vector<float>& samples, bool is_last) {
  held_.insert(held_.end(), samples.begin(), samples.end());
  const auto n_held = static_cast<std::int64_t>(held_.size());
  const std::int64_t n_frames = (is_last ? n_held + frame_samples_ - 1 : n_held) / frame_samples_;
  std::int64_t first = n_frames, stop = 0;  // of the audible frames
  for (std::int64_t frame = 0; frame < n_frames; ++frame) {
    if (!is_audible(frame)) continue;
    first = std::min(first, frame);
    stop = frame + 1;
  }
  std::int64_t begin = 0;  // of what is given back, in frames
  if (!quiet_) {
    begin = std::max<std::int64_t>(0, first - kept_frames);
    lead_ += begin * frame_samples_;
  }
  std::int64_t end = begin;
  if (stop > 0 || quiet_) {
    const std::int64_t audible = stop > 0 ? stop : -*quiet_;
    end = std::clamp(audible + kept_frames, begin, n_frames);
    quiet_ = end - audible;
  }
  const auto at = [&](std::int64_t frame) { return held_.begin() + std::min(frame * frame_samples_, n_held); };
  const std::vector<float> given(at(begin), at(end));
  held_.erase(held_.begin(), at(end));
  return given;
}

// True if the mean square of a frame, which at the end of the speech may be incomplete, is above the threshold.
bool SilenceTrimmer::is_audible(std::int64_t frame) const {
  const auto stop = std::min(static_cast<std::size_t>((frame + 1) * frame_samples_), held_.size());
  double sum = 0.0;
  for (auto i = static_cast<std::size_t>(frame * frame_samples_); i < stop; ++i)
    sum += static_cast<double>(held_[i]) * static_cast<double>(held_[i]);
  return sum / static_cast<double>(frame_samples_) > threshold_;
}

}  // namespace tacoglow
