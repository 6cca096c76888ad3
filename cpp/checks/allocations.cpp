// Counts allocations while the fake backend speaks, with operators new and delete of its own:
//
//   allocations BUNDLE      prints "ok" if a decoder step allocates nothing, alone and in a scheduler, and a segment of
//   a
//                           stream the same bytes however much was spoken before it

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bundle_files.hpp"
#include "encoder.hpp"
#include "fake_backend.hpp"
#include "scheduling/rows.hpp"
#include "synthesizer.hpp"

namespace {

std::size_t n_allocations = 0, n_bytes = 0;

}  // namespace

void* operator new(std::size_t size) {
  ++n_allocations;
  n_bytes += size;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace tacoglow;

constexpr std::int64_t frames = 3000;

void require(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

// Returns the manifest with a frame limit far above what a segment depends on.
Manifest with_long_speech(Manifest manifest) {
  manifest.max_frames = frames / manifest.frames_per_step * manifest.frames_per_step;
  manifest.dimensions.at('F').max = frames;
  manifest.dimensions.at('S').max = frames * manifest.hop_length;
  return manifest;
}

Request request_for(const Voice& voice, double rate) {
  static const std::vector<std::int32_t> ids = {3, 1, 4, 1, 5};
  tacoglow_request given{};
  given.ids = ids.data();
  given.n_ids = ids.size();
  given.sigma = given.sentence_silence = -1.0;
  given.gate_threshold = 0.99;  // not reached by the fake backend
  given.rate = rate;
  given.volume = 1.0;
  given.first_segment_frames = given.segment_frames = 16;
  given.context_frames = -1;
  return resolve_request(voice, given);
}

void check_steps(const Voice& voice) {
  const Manifest& manifest = voice.manifest;
  const auto backend = voice.backend->create_instance();
  const Request request = request_for(voice, 1.0);
  std::vector<DecodedItem> items(2, DecodedItem{5, request.noise(0), request.decoding, {}});
  const GraphSpec& step = manifest.graphs.at("decoder_step");
  Tensors encoded;
  for (const auto* name : {"memory", "processed_memory", "memory_mask"})
    encoded[name] = Tensor(step.tensor(name).dtype, step.tensor(name).resolve({{'B', 2}, {'T', 32}}));
  Decoding decoding(*backend, manifest, std::move(encoded), {&items[0], &items[1]});
  const std::size_t before = n_allocations;
  std::size_t chunks = 0;
  for (; decoding.running(); ++chunks) decoding.read_chunk();
  const std::size_t after = n_allocations;
  require(chunks == static_cast<std::size_t>(manifest.max_frames / manifest.frames_per_step), "too few steps");
  require(after == before, std::to_string(chunks) + " steps allocated " + std::to_string(after - before) + " times");
}

// The rows of a scheduler, once they are the running batch.
void check_rows(const Voice& voice) {
  const auto backend = voice.backend->create_instance();
  const auto decoder = scheduling::open_row_decoder(voice, *backend, {2, 1, 1});
  const Request request = request_for(voice, 1.0);
  const auto encoded = std::make_shared<const Tensors>(encode(*backend, voice.manifest, request.pieces.front().ids));
  scheduling::Rows rows;
  for (int i = 0; i < 2; ++i)
    rows.push_back(decoder->open(DecodedItem{5, request.noise(0), request.decoding, {}}, encoded));
  decoder->advance(rows, 1);
  const std::size_t before = n_allocations;
  decoder->advance(rows, 100);
  const std::size_t after = n_allocations;
  require(rows.front()->step() == 101, "too few steps of rows");
  require(after == before, "100 steps of rows allocated " + std::to_string(after - before) + " times");
}

// The first segments see less context, and the last ones end. At a rate that is not 1, a segment's frames vary by one.
void check_segments(const std::shared_ptr<const Voice>& voice, double rate) {
  Session session(voice);
  std::vector<std::size_t> bytes;
  bytes.reserve(frames);
  std::size_t before = n_bytes;
  session.stream(request_for(*voice, rate), [&](const std::vector<float>&) {
    bytes.push_back(n_bytes - before);
    before = n_bytes;
  });
  constexpr std::ptrdiff_t first = 20, early = 40, last = 20;
  require(bytes.size() > 3 * early, "too few segments");
  const std::size_t most = *std::max_element(bytes.begin() + first, bytes.begin() + early);
  const std::size_t later = *std::max_element(bytes.begin() + early, bytes.end() - last);
  require(later <= most, "a late segment allocates " + std::to_string(later) + " bytes, the early ones at most " +
                             std::to_string(most));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    require(argc == 2, "usage: allocations BUNDLE");
    const Manifest manifest = with_long_speech(load_manifest(FolderFiles(argv[1])));
    const std::vector<bool> letters(manifest.symbols.size(), true);
    const auto voice = std::make_shared<const Voice>(manifest, open_fake_backend(manifest, 1, 1), "fake", letters);
    check_steps(*voice);
    check_rows(*voice);
    for (const double rate : {1.0, 0.7}) check_segments(voice, rate);
    std::printf("ok\n");
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
