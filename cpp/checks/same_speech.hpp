// Compares the speech of one backend with that of another. Everything that fails throws std::logic_error.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "fake_backend.hpp"
#include "synthesizer.hpp"

namespace tacoglow::checks {

// Throws std::logic_error with the message `what` unless `holds`.
void require(bool holds, const std::string& what);

// Returns a voice that runs on the fake backend.
std::shared_ptr<const Voice> fake_voice(const Manifest& manifest, std::int64_t chunk_steps,
                                        std::int64_t launches_in_flight, std::vector<std::int64_t> vocoder_sizes = {},
                                        Observer observe = {});

// Returns the letters of a voice all of whose tokens are letters.
std::vector<bool> all_letters(const Manifest& manifest);

// Returns a request with the defaults of tacoglow_request_init; ids must outlive it.
tacoglow_request default_request(const std::vector<std::int32_t>& ids);

// Returns a request; odd seeds have a limit of 9 frames.
Request request_for(const Voice& voice, std::uint64_t seed, const std::vector<std::int32_t>& ids);

// tolerance: of the samples.
void require_same(const Speech& got, const Speech& expected, const std::string& what, float tolerance = 0);
// Checks that a stream equals unstreamed speech, up to rounding. Returns its samples. unequal: of the last samples,
// which depend on how the vocoder's last window is padded.
std::vector<float> check_stream(Session& session, const Request& request, const Speech& unstreamed,
                                std::size_t unequal = 0);

// Checks that a stream equals unstreamed speech if the denoiser, which sees frames on either side, is on.
void check_denoised_stream(const Manifest& manifest);

// Opens a voice with the TensorRT backend on a simulated TensorRT (simulated/) of this version. max_batch: that the
// plans were built for; 0: the bundle's.
std::shared_ptr<const Voice> open_with_tensorrt(const Manifest& manifest, const std::filesystem::path& plans,
                                                std::int32_t version = 110100, std::int64_t max_batch = 0);

// Checks the TensorRT backend, with plans in this folder.
void check_tensorrt(const Manifest& manifest, const std::filesystem::path& plans);

// Checks that noise which is drawn on the GPU gives the same speech, and that the kernels beside the plans draw it.
void check_device_noise(const Manifest& manifest, const std::filesystem::path& plans);

// Prints which decoder the TensorRT backend has taken, and why.
void print_decoder(const Manifest& manifest, const std::filesystem::path& plans);

// Decodes what lies in the folder, memory, processed_memory and memory_mask of [batch, tokens, …], with seeds 0, 1, …
// of utterance 3; writes mel, gate_logits and attention_weights there.
void run_steps(const Manifest& manifest, const std::filesystem::path& plans, const std::filesystem::path& folder,
               std::int64_t batch, std::int64_t tokens, std::int64_t launches);

// Checks that the fused decoder speaks the same in batches, streams and alone.
void check_fused(const Manifest& manifest, const std::filesystem::path& plans);

// Checks that rows which share decoder steps on a GPU speak what they speak alone: with the fused decoder if it is in
// the plans' folder, otherwise with the engine.
void check_rows(const Manifest& manifest, const std::filesystem::path& plans);

// Checks the same of a scheduler's requests.
void check_row_requests(const Manifest& manifest, const std::filesystem::path& plans);

// Checks what a scheduler's requests for the whole report, and that one which is stopped is not vocoded further.
void check_whole_requests(const Manifest& manifest);

// Checks that a client's requests for the whole are vocoded as they came.
void check_turns(const Manifest& manifest);

// Checks that a voice uses the numbers in the manifest's section `synthesis`.
void check_synthesis(const Manifest& manifest);

}  // namespace tacoglow::checks
