// Changes the speaking rate: a mel is stretched along time before the vocoder, as in Python's runtime/stretch.py.
#pragma once

#include <cstdint>

#include "mel.hpp"

namespace tacoglow {

// Returns the frames after stretching: frames / rate, rounded half up, and at least one of a mel that is not empty.
std::int64_t stretched_frames(std::int64_t frames, double rate);

// Returns the frames of the mel that its first `stretched` stretched frames depend on, unless the mel ends before.
std::int64_t frames_needed(std::int64_t stretched, double rate);

// Extends `stretched` to `stop` frames: frame j is the mel at position j * rate, interpolated linearly, or its last
// frame.
void stretch(const Mel& mel, double rate, std::int64_t stop, Mel& stretched);

}  // namespace tacoglow
