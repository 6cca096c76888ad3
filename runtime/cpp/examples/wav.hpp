// Writes mono wav files, for the examples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

enum class WavFormat { int16, float32 };

// Writes samples that are nominally in [-1, 1]; int16 clips the others. Throws std::runtime_error.
void write_wav(const std::string& path, const float* samples, std::size_t n_samples, std::int32_t sampling_rate,
               WavFormat format);
