#include "wav.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "error.hpp"
#include "files.hpp"

namespace tacoglow {
namespace {

constexpr std::uint16_t pcm = 1, ieee_float = 3;  // format tags in the wav header

// Appends the low n_bytes of a number in little-endian order.
void append(std::string& bytes, std::uint32_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
}

void append(std::string& bytes, const char* tag) { bytes.append(tag, 4); }

void append_sample(std::string& bytes, float sample, tacoglow_wav_format format) {
  if (format == TACOGLOW_WAV_INT16) {
    const float scaled = std::isnan(sample) ? 0.0F : std::nearbyint(std::clamp(sample, -1.0F, 1.0F) * 32767.0F);
    append(bytes, static_cast<std::uint16_t>(static_cast<std::int16_t>(scaled)), 2);
  } else {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &sample, sizeof bits);
    append(bytes, bits, 4);
  }
}

constexpr std::size_t most_bytes = 0xFFFFFFFFu - 36;  // of samples: the header has 32 bits for the size

}  // namespace

void write_wav(const std::filesystem::path& path, const float* samples, std::size_t n_samples,
               std::int32_t sampling_rate, tacoglow_wav_format format) {
  const int width = format == TACOGLOW_WAV_INT16 ? 2 : 4;  // bytes per sample
  if (n_samples > most_bytes / static_cast<std::size_t>(width))
    throw request_error(to_name(path) + ": too long for a wav file: " + std::to_string(n_samples) + " samples");
  const auto rate = static_cast<std::uint32_t>(sampling_rate), size = static_cast<std::uint32_t>(n_samples) * width;
  std::string bytes;
  bytes.reserve(44 + size);
  append(bytes, "RIFF");
  append(bytes, 36 + size, 4);
  append(bytes, "WAVE");
  append(bytes, "fmt ");
  append(bytes, 16, 4);
  append(bytes, format == TACOGLOW_WAV_INT16 ? pcm : ieee_float, 2);
  append(bytes, 1, 2);             // channels
  append(bytes, rate, 4);          // Hz
  append(bytes, rate * width, 4);  // bytes per second
  append(bytes, width, 2);         // bytes per frame of all channels
  append(bytes, 8 * width, 2);     // bits per sample
  append(bytes, "data");
  append(bytes, size, 4);
  for (std::size_t i = 0; i < n_samples; ++i) append_sample(bytes, samples[i], format);
  write_file(path, bytes);
}

}  // namespace tacoglow
