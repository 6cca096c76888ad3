// A mel spectrogram that grows frame by frame.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor.hpp"

namespace tacoglow {

// Frames of a mel, in its memory, where they stay as they are while it grows.
struct MelView {
  const float* values;  // [n_frames, n_channels]
  std::int64_t n_channels, n_frames;

  const float* frame(std::int64_t index) const { return values + index * n_channels; }

  // Returns frames first .. last - 1 as [1, n_channels, frames]; fewer than min_frames are extended by the last one.
  Tensor window(std::int64_t first, std::int64_t last, std::int64_t min_frames = 1) const;
};

class Mel {
 public:
  Mel() = default;
  // Reserves the memory of max_frames frames, which it must not exceed.
  Mel(std::int64_t n_channels, std::int64_t max_frames) : n_channels_(n_channels) {
    values_.reserve(static_cast<std::size_t>(n_channels * max_frames));
  }

  std::int64_t n_channels() const { return n_channels_; }
  std::int64_t n_frames() const { return static_cast<std::int64_t>(values_.size()) / n_channels_; }
  const float* frame(std::int64_t index) const { return values_.data() + index * n_channels_; }

  // Appends values, channel after channel and frame after frame.
  void append(float value) { values_.push_back(value); }
  void append(const float* values, std::int64_t count) { values_.insert(values_.end(), values, values + count); }

  // Returns the frames so far.
  MelView view() const { return {values_.data(), n_channels_, n_frames()}; }

 private:
  std::int64_t n_channels_ = 1;
  std::vector<float> values_;  // [n_frames, n_channels]
};

}  // namespace tacoglow
