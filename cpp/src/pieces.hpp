// Joins the pieces of a long text with pauses, as in Python's runtime/pieces.py.
#pragma once

#include <vector>

#include "voice.hpp"

namespace tacoglow {

// Lets samples rise from silence or fall to it, next to a pause.
void apply_fades(float* samples, std::size_t n_samples, double fade_seconds, std::int64_t sampling_rate, bool fade_in,
                 bool fade_out);

// Samples of silence.
std::size_t count_silence(double seconds, std::int64_t sampling_rate);

// Throws Error (request) for more than 120 seconds of pauses that are longer than those of punctuation.
void check_silence(const Voice& voice, const std::vector<Piece>& pieces);

}  // namespace tacoglow
