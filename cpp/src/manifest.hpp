// Reads and checks a bundle's manifest.json. Python's runtime/bundle/manifest.py defines the format.
//
// Dimension letters in shapes: B batch, T tokens, F frames, S samples. An entry of a shape is a number, a letter, or a
// letter times a number ("F*32").
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor.hpp"

namespace tacoglow {

using Dims = std::map<char, std::int64_t>;

// The number `factor` if letter is 0, otherwise letter times factor.
struct ShapeEntry {
  char letter = 0;
  std::int64_t factor = 1;

  bool operator==(const ShapeEntry& other) const { return letter == other.letter && factor == other.factor; }
  // Returns the entry as a manifest and a graph state it, such as "256", "F" or "F*256".
  std::string text() const;
};

struct TensorSpec {
  std::string name;
  DType dtype = DType::float32;
  std::vector<ShapeEntry> shape;

  // Returns the shape with each letter replaced by its value. Throws std::out_of_range if dims lacks a letter.
  Shape resolve(const Dims& dims) const;
};

struct GraphFile {
  std::string file;    // file name in the bundle's folder, without a path
  std::string sha256;  // hexadecimal
};

struct GraphSpec : GraphFile {
  std::vector<TensorSpec> inputs, outputs;

  // Returns an input or output by name. Throws Error (bundle) if there is none.
  const TensorSpec& tensor(const std::string& name) const;
};

// Output of a decoder step: how much the step attends to each token, [B, T].
constexpr const char* attention_output = "attention_weights_out";

constexpr double strength_max = 10.0;  // of sigma and the denoiser: ten times what is still speech

struct DimRange {
  std::int64_t min = 1, max = 1;
};

// Settings that Python and C++ share, from the manifest's section `synthesis`.
struct Synthesis {
  std::int64_t window_frames = 0;          // most new frames of a vocoder window
  std::int64_t smallest_token_bucket = 0;  // tokens; buckets double from here to the bundle's token limit
  std::int64_t first_segment_frames = 0;   // a stream's defaults, as are the next two
  std::int64_t segment_frames = 0;
  std::int64_t context_frames = 0;  // mel frames that the vocoder sees on either side of a segment
};

// What ends an utterance whose gate does not fire; measured at export.
struct Ending {
  std::int64_t attention_patience = 0;  // frames with the attention on the last token; 0: not measured
  std::int64_t frames = 0;              // of an utterance, in all, besides those of its tokens
  double frames_per_token = 0;
};

struct Manifest {
  std::string name, language, precision;
  std::string digest;               // "" if it has none, and is rejected
  std::int64_t sampling_rate = 0;   // Hz
  std::int64_t hop_length = 0;      // samples per frame
  std::int64_t filter_length = 0;   // samples of the denoiser's STFT window
  std::int64_t n_mel_channels = 0;  // mel bands
  std::vector<std::string> symbols, cleaners;
  std::map<std::string, std::string> lexicon;  // words, and how this voice says them
  std::vector<std::string> untrained;          // symbols whose weights no training has changed
  std::string final_mark;            // symbol that a text gets if it ends with a letter, a digit or a phone; "": none
  GraphFile text_tables;             // data of the text front end
  double gate_threshold = 0;         // probability
  std::int64_t frames_per_step = 1;  // frames per decoder step
  std::int64_t max_frames = 0;       // a multiple of frames_per_step
  Ending ending;
  std::int64_t prenet_layers = 0, prenet_dim = 0;
  std::int64_t postnet_frames = 0;            // frames on either side that the postnet's output for a frame depends on
  std::map<std::string, std::string> states;  // input of a decoder step -> output of the previous step
  std::string vocoder;                        // waveglow or hifigan: the vocoder's kind, and the name of its graph
  std::int64_t group_size = 0;                // samples per position of z; 0 if the vocoder takes no noise
  double sigma = 0;
  std::int64_t min_frames = 1;                       // shortest mel that the vocoder's graph accepts
  std::int64_t frames_before = 0, frames_after = 0;  // the vocoder's receptive field, in frames around a frame
  Synthesis synthesis;
  std::map<char, DimRange> dimensions;
  std::map<std::string, GraphSpec> graphs;
  std::optional<GraphFile> int8_decoder;         // decoder_step with 8-bit weights: its tensors are those of `graphs`
  std::map<std::string, GraphFile> torchscript;  // empty if the bundle has none

  std::int64_t dropout_units() const { return prenet_layers * prenet_dim; }  // of a decoder step
  bool takes_noise() const { return group_size > 0; }
  std::int64_t groups_per_frame() const { return hop_length / group_size; }  // only if it takes noise
};

// True for a name that can only be a file in the folder that it is looked up in.
bool is_plain_file_name(const std::string& name);

// Returns `first` and its doubles below the limit, then the limit.
std::vector<std::int64_t> doubling(std::int64_t first, std::int64_t limit);

// Parses a manifest. Throws Error (bundle) that names the field; messages begin with `source`.
Manifest parse_manifest(std::string_view json, const std::string& source);

// Compares a manifest's digest with the SHA-256 of its text, with 64 zeros in place of the first field that is called
// digest, which has to be it. Throws Error (bundle), so that a flipped bit cannot change a voice.
void check_digest(std::string_view text, const Manifest& manifest, const std::string& source);

// Throws Error (bundle) unless every graph has exactly the tensors, with the dtypes and shapes, that this runtime
// passes to it and reads from it. Copies rely on this check: afterwards no size in the manifest can cause one out of
// bounds.
void check_contract(const Manifest& manifest, const std::string& source);

}  // namespace tacoglow
