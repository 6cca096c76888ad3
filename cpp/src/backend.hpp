// The interface of a backend: runs a graph on named host tensors, and runs the decoder step by step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "manifest.hpp"
#include "noise.hpp"
#include "tensor.hpp"

namespace tacoglow {

// Where the items of a batch continue that have been decoded in part, beside others. Without values: at the first step.
struct DecodedBefore {
  std::vector<std::int64_t> steps;    // [B]: each item's own
  std::vector<std::int64_t> reached;  // [B]: furthest token that the attention of an item with a window has rested on
  Tensors states;                     // [B, ...], by the name of decoder_step's input
};

// What a batch is decoded from.
struct DecoderInput {
  Tensors encoded;                              // memory, processed_memory and memory_mask
  std::vector<Noise> noises;                    // [B], of which the steps draw their dropout
  std::vector<std::int64_t> attention_windows;  // [B]: tokens ahead that the attention may see; 0: all
  float gate_logit;                             // once the gates of all items have exceeded it, a device may stop
  DecodedBefore before = {};                    // only for start_on_host

  // A window moves between two steps, so that the host has to launch them one by one.
  bool has_window() const {
    return std::any_of(attention_windows.begin(), attention_windows.end(), [](auto ahead) { return ahead > 0; });
  }
};

// The decoder of one batch. Its states stay in the backend's memory.
class DecoderSteps {
 public:
  // Outputs of n decoder steps that were launched together.
  struct Chunk {
    const float* mel = nullptr;                // [n, B, frames_per_step, n_mel_channels]
    const float* gate_logits = nullptr;        // [n, B]
    const float* attention_weights = nullptr;  // [n, B, T]
  };

  virtual ~DecoderSteps() = default;
  virtual std::int64_t chunk_steps() const = 0;
  // Most launches that may be unread at a time. More than one if the device must not wait until the host has read the
  // gates.
  virtual std::int64_t launches_in_flight() const = 0;
  // Starts the next chunk_steps() steps.
  virtual void launch() = 0;
  // Waits for the oldest unread launch. The chunk is valid until the next launch or read.
  virtual Chunk read() = 0;
};

// How rows share decoder steps on a device.
struct Profile {
  std::int64_t max_rows;      // that decode together; 0: the bundle's batch limit
  std::int64_t engine_steps;  // of a chunk, between two of which rows join and leave; even
  std::int64_t fused_steps;   // the same of the fused decoder, whose steps are shorter
};

// Runs the decoder steps of a running batch on a device; rows join and leave it between two chunks. What a row decodes
// does not depend on the others. Chunks are launched ahead, two at most, and read in order. Used by one thread at a
// time, which may change.
class RowSteps {
 public:
  // Values of the steps of a chunk: from those of one step to those of the next there are `pitch`.
  struct Output {
    const float* first;
    std::size_t pitch;

    const float* at(std::int64_t step) const { return first + static_cast<std::size_t>(step) * pitch; }
  };
  // What a row has decoded in a chunk: mel [frames_per_step, n_mel_channels], a gate logit and weights [T] for each
  // step.
  struct Chunk {
    Output mel, gate_logits, attention_weights;
  };
  // A row that takes part in a chunk, from this step on.
  struct Start {
    std::size_t row;
    std::int64_t first_step;
  };

  virtual ~RowSteps() = default;
  // Rows that can be launched together.
  virtual std::size_t max_rows() const = 0;
  virtual std::int64_t chunk_steps() const = 0;
  // Token counts of the items of batches in which it can be seen that rows change each other; none if they cannot.
  virtual std::vector<std::vector<std::int64_t>> checked_batches() const = 0;
  // Begins a row; returns its number. encoded: of one item, at its token bucket. Above gate_logit, and at step_limit,
  // the row may stop.
  virtual std::size_t join(const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t step_limit) = 0;
  // Ends a row, whose number may be given to another.
  virtual void leave(std::size_t row) noexcept = 0;
  // Launches a chunk of these rows; the states of the others stay as they are.
  virtual void launch(const std::vector<Start>& rows) = 0;
  // Waits for the oldest chunk that is not read yet; returns it by row, in the order of `launch`. Valid until the next
  // launch.
  virtual std::vector<Chunk> read() = 0;
};

class HostSteps;

// Per-thread resources of a backend: buffers, streams, execution contexts.
class BackendInstance {
 public:
  virtual ~BackendInstance() = default;
  // True if the encoder runs at few fixed lengths: token ids are then padded to the token bucket.
  virtual bool pads_token_ids() const { return false; }
  // The only numbers of mel frames at which a graph runs, ascending, so that a mel is padded; empty: it runs at any.
  virtual const std::vector<std::int64_t>& window_sizes(const std::string& graph) const;
  // Makes what utterances run ready, so that none of them waits for that.
  virtual void prepare() {}
  // Runs a graph: inputs by name -> outputs by name, in the manifest's dtypes and shapes. Throws Error (request) if
  // the inputs do not match the manifest.
  virtual Tensors run(const std::string& graph, const Tensors& inputs) = 0;
  // Runs the vocoder on a mel [1, M, F] with, if it takes noise, z from that group on. Returns the audio, [1, samples].
  virtual Tensor vocode(const Manifest& manifest, Tensor mel, const Noise& noise, std::int64_t first_group,
                        float sigma);
  // Starts decoding a batch, with all states zero.
  virtual std::unique_ptr<DecoderSteps> start(DecoderInput input);
  // Starts decoding with the states in host memory, also in the middle of utterances. nullptr if a device keeps them.
  virtual std::unique_ptr<HostSteps> start_on_host(DecoderInput input);
  // Makes ready what rows on a device decode with, which this object must outlive. profile: max_rows is not 0. nullptr
  // if there is no such thing.
  virtual std::unique_ptr<RowSteps> row_steps(const Profile& profile);
};

// The loaded graphs of a bundle. Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::unique_ptr<BackendInstance> create_instance() = 0;
  // Vocoder windows that are worth running at once, each in a thread of its own; 0: one after the other, beside the
  // decoder in one thread, as on a device.
  virtual std::int64_t parallel_windows() const { return 0; }
  // Which decoder runs and why, in one line; empty if there is no choice.
  virtual std::string decoder() const { return {}; }
};

// Precision of decoder steps on a CPU; `automatic`: int8 if the bundle has 8-bit weights.
enum class Compute { fp32, int8, automatic };

struct BackendOptions {
  int threads = 0;              // CPU threads; 0: the backend's default
  int device = 0;               // index of the GPU
  std::filesystem::path plans;  // folder with one GRAPH.plan per graph
  Compute compute = Compute::fp32;
};

class BundleFiles;

// Open the graphs with one backend. Throw Error (bundle, backend).
std::unique_ptr<Backend> open_onnxruntime(const BundleFiles& files, const Manifest& manifest,
                                          const BackendOptions& options);
std::unique_ptr<Backend> open_onnxruntime_cuda(const BundleFiles& files, const Manifest& manifest,
                                               const BackendOptions& options);
std::unique_ptr<Backend> open_torchscript(const BundleFiles& files, const Manifest& manifest,
                                          const BackendOptions& options);
std::unique_ptr<Backend> open_tensorrt(const BundleFiles& files, const Manifest& manifest,
                                       const BackendOptions& options);

// Returns the smallest of these sizes for so many frames; their number itself if there is none.
std::int64_t window_size(const std::vector<std::int64_t>& sizes, std::int64_t frames);

// Returns the values of the dimension letters in a graph's inputs. Throws Error (request) if a tensor is missing, has
// the wrong dtype or shape, or a size is outside the bundle's range.
Dims check_inputs(const std::string& graph, const Manifest& manifest, const Tensors& inputs);

}  // namespace tacoglow
