#include "voice.hpp"

#include <utility>

namespace tacoglow {

Voice::Voice(Manifest read, std::unique_ptr<Backend> opened, std::string chosen_name)
    : manifest(std::move(read)),
      text(manifest),
      backend(std::move(opened)),
      backend_name(std::move(chosen_name)),
      facts{manifest.name.c_str(),
            manifest.language.c_str(),
            manifest.precision.c_str(),
            backend_name.c_str(),
            static_cast<std::int32_t>(manifest.sampling_rate),
            static_cast<std::int32_t>(manifest.hop_length),
            static_cast<std::int32_t>(manifest.n_mel_channels),
            static_cast<std::int32_t>(manifest.symbols.size()),
            static_cast<std::int32_t>(manifest.dimensions.at('T').max),
            static_cast<std::int32_t>(manifest.max_frames),
            manifest.gate_threshold,
            manifest.sigma,
            text.takes_text() ? 1 : 0} {}

}  // namespace tacoglow
