// A fake backend that computes simple sums instead of networks. Its graphs are fast and deterministic, and have the
// same receptive fields as the real ones.
#pragma once

#include <functional>
#include <string>

#include "backend.hpp"

namespace tacoglow {

// Is called in the thread that asks for it: with a graph and its inputs before each run, and with decoder_step and the
// encoded text before the steps of a batch.
using Observer = std::function<void(const std::string& graph, const Tensors& inputs)>;

// chunk_steps and launches_in_flight are those of its DecoderSteps, so that it can behave like a GPU that is read late.
// vocoder_sizes: the only numbers of frames at which its vocoder runs; empty: any.
std::unique_ptr<Backend> open_fake_backend(const Manifest& manifest, std::int64_t chunk_steps,
                                           std::int64_t launches_in_flight,
                                           std::vector<std::int64_t> vocoder_sizes = {}, Observer observe = {});

}  // namespace tacoglow
