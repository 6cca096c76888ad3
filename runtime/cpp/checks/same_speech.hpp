// Speech of one engine against speech of another.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "synthesizer.hpp"

namespace tacoglow::checks {

// Throws std::logic_error.
void require(bool holds, const std::string& what);

// A voice over the stand-in engine (fake_backend.hpp).
std::shared_ptr<const Voice> fake_voice(const Manifest& manifest, std::int64_t chunk_steps,
                                        std::int64_t launches_in_flight);

// Every other seed with a limit of 9 frames.
Request request_for(const Voice& voice, std::uint64_t seed, const std::vector<std::int32_t>& ids);

void require_same(const Speech& got, const Speech& expected, const std::string& what);
void check_stream(Session& session, const Request& request, const Speech& whole);

// The TensorRT engine over a simulated GPU (simulated/) and plans in this folder. Throws std::logic_error.
void check_tensorrt(const Manifest& manifest, const std::filesystem::path& plans);

// A voice follows the manifest's section `synthesis`. Throws std::logic_error.
void check_synthesis(const Manifest& manifest);

}  // namespace tacoglow::checks
