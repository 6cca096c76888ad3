// An engine of a few sums instead of a network: as local and as deterministic as the real graphs, and fast.
#pragma once

#include "backend.hpp"

namespace tacoglow {

// chunk_steps and launches_in_flight: of the decoder loop, to stand in for a GPU that is read late.
std::unique_ptr<Backend> open_fake_backend(const Manifest& manifest, std::int64_t chunk_steps,
                                           std::int64_t launches_in_flight);

}  // namespace tacoglow
