// Runs the fused decoder, in its CPU emulation, behind the TensorRT backend on the pretended driver.

#include <fstream>
#include <iostream>
#include <utility>

#include "same_speech.hpp"
#include "simulated/NvInferRuntime.h"

namespace tacoglow::checks {
namespace {

Tensor read_tensor(const std::filesystem::path& path, DType dtype, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  std::ifstream file(path, std::ios::binary);
  file.read(static_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.size_bytes()));
  require(file.good() && file.peek() == std::ifstream::traits_type::eof(), path.string() + ": another size");
  return tensor;
}

void append(const std::filesystem::path& path, const float* values, std::size_t count) {
  std::ofstream(path, std::ios::binary | std::ios::app)
      .write(reinterpret_cast<const char*>(values), static_cast<std::streamsize>(count * sizeof(float)));
}

}  // namespace

void print_decoder(const Manifest& manifest, const std::filesystem::path& plans) {
  std::cout << open_with_tensorrt(manifest, plans)->facts.decoder << '\n';
}

void run_steps(const Manifest& manifest, const std::filesystem::path& plans, const std::filesystem::path& folder,
               std::int64_t batch, std::int64_t tokens, std::int64_t launches) {
  const auto voice = open_with_tensorrt(manifest, plans);
  const auto instance = voice->backend->create_instance();
  const GraphSpec& step = manifest.graphs.at("decoder_step");
  const Dims dims = {{'B', batch}, {'T', tokens}};
  for (int round = 0; round < 2; ++round) {  // the second reuses the memory of the first
    DecoderInput input{{}, {}, {}, 1e30F};
    for (const auto* name : {"memory", "processed_memory", "memory_mask"})
      input.encoded[name] = read_tensor(folder / name, step.tensor(name).dtype, step.tensor(name).resolve(dims));
    for (std::int64_t i = 0; i < batch; ++i) input.noises.emplace_back(static_cast<std::uint64_t>(i), 3);
    const auto steps = instance->start(std::move(input));
    steps->launch();
    for (std::int64_t i = 0; i < launches; ++i) {
      if (i + 1 < launches) steps->launch();
      const auto chunk = steps->read();
      if (round == 0) continue;
      const auto rows = static_cast<std::size_t>(steps->chunk_steps() * batch);
      const auto mel = static_cast<std::size_t>(manifest.frames_per_step * manifest.n_mel_channels);
      append(folder / "mel", chunk.mel, rows * mel);
      append(folder / "gate_logits", chunk.gate_logits, rows);
      append(folder / "attention_weights", chunk.attention_weights, rows * static_cast<std::size_t>(tokens));
    }
  }
}

void check_fused(const Manifest& manifest, const std::filesystem::path& plans) {
  Session session(open_with_tensorrt(manifest, plans));
  std::vector<Request> requests;
  std::vector<Speech> alone;
  for (std::uint64_t seed = 0; seed < 11; ++seed) {
    const std::vector<std::int32_t> ids(5 + seed, static_cast<std::int32_t>(1 + seed));
    requests.push_back(request_for(session.voice(), seed, ids));
    alone.push_back(session.speak({requests.back()}).front());
    if (seed < 2) check_stream(session, requests.back(), alone.back());
  }
  const auto together = session.speak(requests);
  for (std::size_t i = 0; i < alone.size(); ++i) require_same(together[i], alone[i], "the fused decoder, in a batch,");
  for (const auto& [graph, profile] : simulated::tensorrt().profiles)
    require(graph != "decoder_step", "the engine should not decode");
}

}  // namespace tacoglow::checks
