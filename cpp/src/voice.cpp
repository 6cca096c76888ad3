#include "voice.hpp"

#include <utility>

#include "error.hpp"

namespace tacoglow {

Voice::Voice(Manifest read, std::unique_ptr<Backend> opened, std::string chosen_name, std::vector<bool> found,
             std::unique_ptr<const FrontEnd> prepared)
    : manifest(std::move(read)),
      backend(std::move(opened)),
      backend_name(std::move(chosen_name)),
      decoder(backend->decoder()),
      letters(std::move(found)),
      facts{manifest.name.c_str(),
            manifest.language.c_str(),
            manifest.precision.c_str(),
            backend_name.c_str(),
            decoder.c_str(),
            static_cast<std::int32_t>(manifest.sampling_rate),
            static_cast<std::int32_t>(manifest.hop_length),
            static_cast<std::int32_t>(manifest.n_mel_channels),
            static_cast<std::int32_t>(manifest.symbols.size()),
            static_cast<std::int32_t>(manifest.dimensions.at('T').max),
            static_cast<std::int32_t>(manifest.max_frames),
            prepared != nullptr ? 1 : 0,
            manifest.gate_threshold,
            manifest.sigma},
      symbols_(manifest.symbols),
      front_end_(std::move(prepared)) {}

const FrontEnd& Voice::front_end() const {
  if (!front_end_) throw request_error(text_unsupported_reason(manifest));
  return *front_end_;
}

std::string Voice::name_of(std::int32_t id) const { return to_utf8(symbols_.name_of(id)); }

}  // namespace tacoglow
