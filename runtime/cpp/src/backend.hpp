// What an engine has to offer: run a graph over named host tensors, and run the decoder step after step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "manifest.hpp"
#include "tensor.hpp"

namespace tacoglow {

// A batch's decoder: its states live where the engine keeps them.
class DecoderSteps {
 public:
  struct Chunk {
    const float* mel;          // [n, B, frames_per_step, n_mel_channels]
    const float* gate_logits;  // [n, B]
  };

  virtual ~DecoderSteps() = default;
  virtual std::int64_t chunk_steps() const = 0;
  // How many launches may be under way before the first must be read. More than one where the device must not wait
  // for the host to look at the gates.
  virtual std::int64_t launches_in_flight() const = 0;
  // Begin the next chunk_steps() steps. dropout: [chunk_steps, B, prenet_layers, prenet_dim]
  virtual void launch(const float* dropout) = 0;
  // Wait for the oldest launch that has not been read; valid until as many more launches as may be in flight.
  virtual Chunk read() = 0;
};

// One thread's share of an engine: buffers, streams, execution contexts.
class BackendInstance {
 public:
  virtual ~BackendInstance() = default;
  // Inputs by name, checked by the caller -> outputs by name, in the manifest's dtypes and shapes.
  virtual Tensors run(const std::string& graph, const Tensors& inputs) = 0;
  // encoded: memory, processed_memory and memory_mask of a batch; states start at zero.
  virtual std::unique_ptr<DecoderSteps> start(Tensors encoded) = 0;
};

// A bundle's graphs, loaded. Safe for use from several threads.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::unique_ptr<BackendInstance> create_instance() = 0;
};

struct BackendOptions {
  int threads = 0;  // CPU threads; 0: the engine's own choice
  int device = 0;   // index of the GPU
  std::filesystem::path plans;
};

// Throw Error (bundle, engine).
std::unique_ptr<Backend> open_torchscript(const std::filesystem::path& bundle, const Manifest& manifest,
                                          const BackendOptions& options);
std::unique_ptr<Backend> open_tensorrt(const std::filesystem::path& bundle, const Manifest& manifest,
                                       const BackendOptions& options);

// The sizes that letters stand for in these inputs of a graph. Throws Error (request) where a tensor is missing, has
// another dtype or shape, or a size is out of the bundle's range.
Dims check_inputs(const std::string& graph, const Manifest& manifest, const Tensors& inputs);

}  // namespace tacoglow
