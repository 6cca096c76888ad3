// Writes mono wav files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "tacoglow.h"

namespace tacoglow {

// Writes samples that are nominally in [-1, 1]; int16 clips the others, and makes NaN silence. The file appears
// complete or not at all; a device or a pipe is written in place. Throws Error (request) if it cannot be written.
void write_wav(const std::filesystem::path& path, const float* samples, std::size_t n_samples,
               std::int32_t sampling_rate, tacoglow_wav_format format);

}  // namespace tacoglow
