// What the test suite asks of the runtime's own code:
//
//   checks noise SEED UTTERANCE FIRST COUNT UNITS GROUP_SIZE    float32 dropout [COUNT, UNITS], z [GROUP_SIZE, COUNT]
//   checks manifest BUNDLE                                      "ok", or the refusal
//   checks ids BUNDLE TEXT                                      token ids, or the refusal
//   checks loop BUNDLE                                          "ok" if reading late and streaming change nothing

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "error.hpp"
#include "stand_in.hpp"
#include "synthesizer.hpp"

namespace {

using tacoglow::Manifest;

void require(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

void write(const std::vector<float>& values) {
  require(std::fwrite(values.data(), sizeof(float), values.size(), stdout) == values.size(), "stdout");
}

void print_noise(char** arguments) {
  const tacoglow::Noise noise(std::strtoull(arguments[0], nullptr, 10), std::strtoull(arguments[1], nullptr, 10));
  const long long first = std::atoll(arguments[2]), count = std::atoll(arguments[3]);
  const long long units = std::atoll(arguments[4]), group_size = std::atoll(arguments[5]);
  std::vector<float> dropout(static_cast<std::size_t>(count * units)), z(static_cast<std::size_t>(count * group_size));
  noise.prenet_dropout(first, count, units, dropout.data());
  noise.z(first, count, group_size, 1.0F, z.data());
  write(dropout);
  write(z);
}

void print_ids(const Manifest& manifest, const char* text) {
  for (const auto id : tacoglow::TextTable(manifest).encode(text)) std::printf("%d ", static_cast<int>(id));
  std::printf("\n");
}

std::shared_ptr<const tacoglow::Voice> stand_in(const Manifest& manifest, std::int64_t frames, std::int64_t launches) {
  auto engine = tacoglow::open_stand_in(manifest, frames, launches);
  return std::make_shared<const tacoglow::Voice>(manifest, std::move(engine), "stand-in");
}

tacoglow::Request request_for(const tacoglow::Voice& voice, std::uint64_t seed, const std::vector<std::int32_t>& ids) {
  tacoglow_request given{};
  given.ids = ids.data();
  given.n_ids = ids.size();
  given.seed = seed;
  given.sigma = -1.0;
  given.max_frames = seed % 2 == 0 ? 0 : 9;
  given.first_chunk_frames = 3;
  given.chunk_frames = 5;
  given.context_frames = -1;
  return tacoglow::checked_request(voice, given);
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  require(a.size() == b.size(), "lengths differ: " + std::to_string(a.size()) + " and " + std::to_string(b.size()));
  float largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

void check_stream(tacoglow::Session& session, const tacoglow::Request& request, const tacoglow::Speech& whole) {
  std::vector<float> streamed;
  const auto reason = session.stream(request, [&](const std::vector<float>& samples) {
    streamed.insert(streamed.end(), samples.begin(), samples.end());
  });
  require(reason == whole.stop_reason, "a stream stops for another reason");
  require(largest_difference(streamed, whole.samples) < 1e-6F, "a stream is not the whole");
}

void check_loop(const Manifest& manifest) {
  bool gated = false, cut = false;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const std::vector<std::int32_t> ids(1 + seed, static_cast<std::int32_t>(1 + seed));
    tacoglow::Session plain(stand_in(manifest, 1, 1));
    const tacoglow::Speech whole = plain.speak(request_for(plain.voice(), seed, ids));
    check_stream(plain, request_for(plain.voice(), seed, ids), whole);
    (whole.stop_reason == TACOGLOW_STOP_GATE ? gated : cut) = true;
    for (const auto& [frames, launches] : {std::pair<std::int64_t, std::int64_t>{4, 2}, {7, 3}, {64, 2}}) {
      tacoglow::Session late(stand_in(manifest, frames, launches));
      const tacoglow::Request request = request_for(late.voice(), seed, ids);
      const tacoglow::Speech speech = late.speak(request);
      require(speech.samples == whole.samples, "reading late changes the samples");
      require(speech.mel.values == whole.mel.values, "reading late changes the mel");
      require(speech.stop_reason == whole.stop_reason, "reading late changes the stop reason");
      check_stream(late, request, whole);
    }
  }
  require(gated && cut, "the stand-in should end by its gate with some seeds and at the limit with others");
}

void run(int count, char** arguments) {
  const std::string command = count > 2 ? arguments[1] : "";
  if (command == "noise" && count == 8) return print_noise(arguments + 2);
  const Manifest manifest = tacoglow::load_manifest(count > 2 ? arguments[2] : "");
  if (command == "ids" && count == 4) return print_ids(manifest, arguments[3]);
  if (command == "loop") check_loop(manifest);
  std::printf("ok\n");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
    return EXIT_SUCCESS;
  } catch (const tacoglow::Error& error) {
    std::printf("refused with %d: %s\n", static_cast<int>(error.status), error.what());
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
