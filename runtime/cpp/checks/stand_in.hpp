// An engine of a few sums instead of a network: as local and as deterministic as the real graphs, and fast.
#pragma once

#include "engine.hpp"

namespace tacoglow {

// steps_per_launch and launches_in_flight: of the decoder loop, to stand in for a GPU that is read late.
std::unique_ptr<Engine> open_stand_in(const Manifest& manifest, std::int64_t steps_per_launch,
                                      std::int64_t launches_in_flight);

}  // namespace tacoglow
