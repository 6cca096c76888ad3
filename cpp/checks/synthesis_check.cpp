// Checks that a voice uses the numbers in the manifest's section `synthesis`: token bucket, vocoder windows, segments.

#include <algorithm>
#include <string>
#include <vector>

#include "same_speech.hpp"

namespace tacoglow::checks {
namespace {

struct Recorded {
  std::int64_t tokens = 0;            // padded length of the last batch
  std::vector<std::int64_t> windows;  // mel frames of each run of WaveGlow
};

// Returns how many mel frames WaveGlow needs for frames start .. stop - 1 of `total`, with at most `context` on either
// side.
std::int64_t frames_with_context(const Manifest& manifest, std::int64_t start, std::int64_t stop, std::int64_t total,
                                 std::int64_t context) {
  return stop - start + std::min({start, context, manifest.frames_before}) +
         std::min({total - stop, context, manifest.frames_after});
}

}  // namespace

void check_synthesis(const Manifest& manifest) {
  const Synthesis& expected = manifest.synthesis;
  Recorded recorded;
  const auto record = [&recorded](const std::string& graph, const Tensors& inputs) {
    if (graph == "decoder_step") recorded.tokens = inputs.at("memory").shape()[1];
    if (graph == "waveglow") recorded.windows.push_back(inputs.at("mel").shape()[2]);
  };
  Session session(fake_voice(manifest, 1, 1, {}, record));
  const std::vector<std::int32_t> ids = {1};
  tacoglow_request given = default_request(ids);
  given.gate_threshold = 0.99;  // not reached by the fake backend, so the utterance has max_frames frames
  const Request request = resolve_request(session.voice(), given);
  const std::int64_t total = manifest.max_frames;

  require(session.speak({request}).front().n_frames == total, "the utterance should end at the frame limit");
  require(recorded.tokens == std::min(expected.smallest_token_bucket, manifest.dimensions.at('T').max),
          "a token was padded to " + std::to_string(recorded.tokens));
  std::vector<std::int64_t> windows;
  for (std::int64_t start = 0; start < total; start += expected.window_frames)
    windows.push_back(
        frames_with_context(manifest, start, std::min(start + expected.window_frames, total), total, total));
  require(recorded.windows == windows, "the vocoder's windows do not follow window_frames");

  recorded.windows.clear();
  windows.clear();
  std::int64_t start = 0, size = expected.first_segment_frames;
  session.stream(request, [&](const std::vector<float>& samples) {
    const std::int64_t stop = std::min(start + size, total);
    require(static_cast<std::int64_t>(samples.size()) == (stop - start) * manifest.hop_length,
            "a segment at frame " + std::to_string(start) + " has " + std::to_string(samples.size()) + " samples");
    windows.push_back(frames_with_context(manifest, start, stop, total, expected.context_frames));
    start = stop;
    size = std::min(2 * size, expected.segment_frames);
  });
  require(start == total, "the segments should cover the utterance");
  require(recorded.windows == windows, "the segments' windows do not follow context_frames");
}

}  // namespace tacoglow::checks
