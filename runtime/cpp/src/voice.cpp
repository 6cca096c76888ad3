#include "voice.hpp"

#include <utility>

namespace tacoglow {

Voice::Voice(Manifest read, std::unique_ptr<Engine> opened, std::string engine_chosen)
    : manifest(std::move(read)),
      text(manifest),
      engine(std::move(opened)),
      engine_name(std::move(engine_chosen)),
      facts{manifest.name.c_str(),
            manifest.language.c_str(),
            manifest.precision.c_str(),
            engine_name.c_str(),
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
