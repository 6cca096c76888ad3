// Checks of the runtime's own code, called by the test suite:
//
//   checks noise SEED UTTERANCE FIRST COUNT UNITS GROUP_SIZE    writes float32 dropout [COUNT, UNITS] and
//                                                               z [GROUP_SIZE, COUNT] to standard output
//   checks manifest BUNDLE                                      prints "ok" if the manifest is valid
//   checks text BUNDLE OPTION=VALUE ...                         reads texts, separated by NUL, from standard input, and
//                                                               prints a line of JSON for each; text_check.hpp has the
//                                                               options
//   checks text_times BUNDLE OPTION=VALUE ...                   likewise, and prints the processor's seconds for each
//   checks words BUNDLE                                         reads texts likewise, and prints the ids of each,
//                                                               and its words with their tokens
//   checks names BUNDLE                                         prints the name of each token of a voice without text
//   checks loop BUNDLE                                          prints "ok" if reading late, streaming and batching do
//                                                               not change the result
//   checks whole_requests BUNDLE                                prints "ok" if a scheduler's requests for the whole
//                                                               report their progress, and stop when they are told to
//   checks turns BUNDLE                                         prints "ok" if a client's requests keep their order
//   checks synthesis BUNDLE                                     prints the numbers in `synthesis` if a voice uses them
//   checks windows                                              reads lines with the numbers of plan_windows, and
//                                                               prints the ends of the windows that it cuts
//   checks write PATH THREADS TIMES                             prints "ok" if each thread has written a wav file of
//                                                               100,000 samples of its own value so many times
//   checks write_nan PATH                                       writes a wav file of samples that are not all numbers
//   checks judge FILE                                           judges alignments: int32 frames, tokens, and 1 for the
//                                                               frame limit, a byte per token for letters, float32
//                                                               weights; prints severity and faults, a line for each
//   checks bounds FILE                                          prints where the tokens of these alignments begin
//   checks trim RATE VOLUME SEED                                reads float32 samples from standard input, cuts them
//                                                               anywhere, and writes int64, how many are left out at
//                                                               the beginning, and what is left of them
//   checks policy                                               answers questions to the scheduler's policy
//   checks graph_file PATH ...                                  prints what each has that no voice's graph has, or "ok"
// The following need the folder of tests/pretend_driver's libcuda.so.1 in LD_LIBRARY_PATH:
//
//   checks tensorrt BUNDLE PLANS                                prints "ok" if the TensorRT backend gives the same
//                                                               speech as the fake backend
//   checks device_noise BUNDLE PLANS                            prints "ok" if noise that the GPU draws, with the
//                                                               kernels beside the plans, gives the same speech
//   checks decoder BUNDLE PLANS                                 prints which decoder runs behind that backend, and why
//   checks steps BUNDLE PLANS FOLDER BATCH TOKENS LAUNCHES      decodes FOLDER with it
//   checks fused BUNDLE PLANS                                   prints "ok" if the fused decoder speaks the same in
//                                                               batches, streams and alone
//
// An Error of the runtime is printed as "rejected with STATUS: MESSAGE".

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iostream>
#include <iterator>
#include <limits>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bundle_files.hpp"
#include "error.hpp"
#include "graph_file.hpp"
#include "policy_check.hpp"
#include "quality.hpp"
#include "same_speech.hpp"
#include "text_check.hpp"
#include "timestamps.hpp"
#include "trimming.hpp"
#include "vocoder.hpp"
#include "wav.hpp"

namespace {

using tacoglow::Manifest;
using tacoglow::checks::check_stream;
using tacoglow::checks::fake_voice;
using tacoglow::checks::request_for;
using tacoglow::checks::require;
using tacoglow::checks::require_same;

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

template <typename Number>
std::vector<Number> read_numbers(std::istream& stream, std::size_t count) {
  std::vector<Number> numbers(count);
  stream.read(reinterpret_cast<char*>(numbers.data()), static_cast<std::streamsize>(count * sizeof(Number)));
  return numbers;
}

// Calls `use` with each alignment of a file, 1 for the frame limit, and the letters.
template <typename Use>
void read_alignments(const std::string& path, const Use& use) {
  std::ifstream file(path, std::ios::binary);
  for (auto head = read_numbers<std::int32_t>(file, 3); file; head = read_numbers<std::int32_t>(file, 3)) {
    const auto tokens = static_cast<std::size_t>(head[1]);
    const auto bytes = read_numbers<char>(file, tokens);
    const auto weights = read_numbers<float>(file, static_cast<std::size_t>(head[0]) * tokens);
    use(tacoglow::Alignment{weights.data(), head[0], head[1], 1}, head[2] != 0,
        std::vector<bool>(bytes.begin(), bytes.end()));
    std::printf("\n");
  }
}

void print_judgement(const tacoglow::Alignment& alignment, bool is_cut_off, const std::vector<bool>& letters) {
  const auto faults = tacoglow::judge(alignment, is_cut_off, letters);
  std::printf("%lld", static_cast<long long>(tacoglow::severity(faults, alignment.n_tokens)));
  for (const auto& [reason, first, stop] : faults)
    std::printf(" %d:%lld:%lld", reason, static_cast<long long>(first), static_cast<long long>(stop));
}

void print_bounds(const tacoglow::Alignment& alignment, bool, const std::vector<bool>&) {
  for (const auto frame : tacoglow::token_bounds(alignment.weights, alignment.n_frames, alignment.n_tokens))
    std::printf("%lld ", static_cast<long long>(frame));
}

void trim(std::int64_t rate, double volume, std::uint64_t seed) {
  std::vector<float> samples(1 << 20), trimmed;
  samples.resize(std::fread(samples.data(), sizeof(float), samples.size(), stdin));
  tacoglow::SilenceTrimmer trimmer(rate, volume);
  std::mt19937_64 random(seed);
  for (auto from = samples.begin(); from != samples.end();) {
    const auto to = from + std::min<std::ptrdiff_t>(samples.end() - from, static_cast<std::ptrdiff_t>(random() % 999));
    const auto part = trimmer.push({from, to}, to == samples.end());
    trimmed.insert(trimmed.end(), part.begin(), part.end());
    from = to;
  }
  const std::int64_t lead = trimmer.lead();
  require(std::fwrite(&lead, sizeof lead, 1, stdout) == 1, "stdout");
  if (!trimmed.empty()) write(trimmed);
}

void print_names(const Manifest& manifest) {
  const auto voice = fake_voice(manifest, 1, 1);
  for (std::size_t id = 0; id < manifest.symbols.size(); ++id)
    std::printf("%s\n", voice->name_of(static_cast<std::int32_t>(id)).c_str());
}

void print_synthesis(const Manifest& manifest) {
  tacoglow::checks::check_synthesis(manifest);
  const tacoglow::Synthesis& s = manifest.synthesis;
  for (const auto value :
       {s.window_frames, s.smallest_token_bucket, s.first_segment_frames, s.segment_frames, s.context_frames})
    std::printf("%lld ", static_cast<long long>(value));
  std::printf("\n");
}

void write_wavs(const std::string& path, int n_threads, int times) {
  std::vector<std::future<void>> writers;
  for (int i = 0; i < n_threads; ++i)
    writers.push_back(std::async(std::launch::async, [=] {
      const std::vector<float> samples(100'000, 0.1F * static_cast<float>(i));
      for (int k = 0; k < times; ++k)
        tacoglow::write_wav(path, samples.data(), samples.size(), 22050, TACOGLOW_WAV_INT16);
    }));
  for (auto& writer : writers) writer.get();
}

void write_nan(const std::string& path) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float samples[] = {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity, 0.5F};
  tacoglow::write_wav(path, samples, 4, 22050, TACOGLOW_WAV_INT16);
}

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void print_windows() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream numbers(line);
    std::int64_t start = 0, stop = 0, frames = 0, before = 0, after = 0;
    numbers >> start >> stop >> frames >> before >> after;
    const std::vector<std::int64_t> sizes{std::istream_iterator<std::int64_t>(numbers), {}};
    for (const auto& window : tacoglow::plan_windows(start, stop, frames, before, after, sizes))
      std::printf("%lld ", static_cast<long long>(window.second));
    std::printf("\n");
  }
}

void print_forbidden(int count, char** paths) {
  for (int i = 0; i < count; ++i) {
    const char* forbidden = tacoglow::find_forbidden(read_file(paths[i]));
    std::printf("%s\n", forbidden != nullptr ? forbidden : "ok");
  }
}

// Runs a command without a bundle; returns false if it is another one.
bool run_without_bundle(const std::string& command, int count, char** arguments) {
  if (command == "noise" && count == 6)
    print_noise(arguments);
  else if (command == "judge" && count == 1)
    read_alignments(arguments[0], print_judgement);
  else if (command == "bounds" && count == 1)
    read_alignments(arguments[0], print_bounds);
  else if (command == "trim" && count == 3)
    trim(std::atoll(arguments[0]), std::atof(arguments[1]), std::strtoull(arguments[2], nullptr, 10));
  else if (command == "policy")
    tacoglow::checks::answer_policy();
  else if (command == "windows")
    print_windows();
  else if (command == "graph_file")
    print_forbidden(count, arguments);
  else if (command == "write" && count == 3)
    write_wavs(arguments[0], std::atoi(arguments[1]), std::atoi(arguments[2])), std::printf("ok\n");
  else if (command == "write_nan" && count == 1)
    write_nan(arguments[0]), std::printf("ok\n");
  else
    return false;
  return true;
}

// Requests with different lengths, limits and thresholds, more than fit into one batch; some are retried.
void check_batch(const Manifest& manifest) {
  bool retried = false;
  for (const std::int64_t steps : {1, 7}) {
    tacoglow::Session session(fake_voice(manifest, steps, 2));
    std::vector<tacoglow::Request> requests;
    std::vector<tacoglow::Speech> alone;
    for (std::uint64_t seed = 0; seed < 11; ++seed) {
      const std::vector<std::int32_t> ids(1 + seed * 7 % 40, static_cast<std::int32_t>(1 + seed));
      requests.push_back(request_for(session.voice(), seed, ids));
      if (seed % 3 == 0) requests.back().decoding.gate_threshold = 0.65;
      if (seed % 4 == 0) requests.back().decoding.attention_window = 2;
      const auto without = session.speak({requests.back()}).front().stop_reason;
      requests.back().retries = 5;
      alone.push_back(session.speak({requests.back()}).front());
      retried = retried || without != alone.back().stop_reason;
    }
    const auto together = session.speak(requests);
    for (std::size_t i = 0; i < alone.size(); ++i) require_same(together[i], alone[i], "a batch");
  }
  require(retried, "a retry should end at its gate although the first attempt did not");
}

void check_loop(const Manifest& manifest) {
  bool gated = false, cut = false;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const std::vector<std::int32_t> ids(1 + seed, static_cast<std::int32_t>(1 + seed));
    tacoglow::Session plain(fake_voice(manifest, 1, 1));
    const tacoglow::Speech unstreamed = plain.speak({request_for(plain.voice(), seed, ids)}).front();
    const auto streamed = check_stream(plain, request_for(plain.voice(), seed, ids), unstreamed);
    (unstreamed.stop_reason == TACOGLOW_STOP_GATE ? gated : cut) = true;
    for (const auto& [steps, launches] : {std::pair<std::int64_t, std::int64_t>{4, 2}, {7, 3}, {64, 2}}) {
      tacoglow::Session late(fake_voice(manifest, steps, launches));
      const tacoglow::Request request = request_for(late.voice(), seed, ids);
      require_same(late.speak({request}).front(), unstreamed, "reading late");
      require(check_stream(late, request, unstreamed) == streamed, "reading late changes a stream");
    }
  }
  require(gated && cut, "the fake voice should end at its gate with some seeds and at the frame limit with others");
}

void run(int count, char** arguments) {
  const std::string command = count > 1 ? arguments[1] : "";
  if (run_without_bundle(command, count - 2, arguments + 2)) return;
  const Manifest manifest = tacoglow::load_manifest(tacoglow::FolderFiles(count > 2 ? arguments[2] : ""));
  const std::vector<std::string> options(arguments + 3, arguments + count);
  if (command == "text") return tacoglow::checks::print_texts(arguments[2], manifest, options);
  if (command == "text_times") return tacoglow::checks::print_text_times(arguments[2], manifest, options);
  if (command == "words") return tacoglow::checks::print_words(arguments[2], manifest);
  if (command == "names") return print_names(manifest);
  if (command == "loop") {
    check_loop(manifest);
    check_batch(manifest);
    tacoglow::checks::check_denoised_stream(manifest);
  }
  if (command == "whole_requests") tacoglow::checks::check_whole_requests(manifest);
  if (command == "turns") tacoglow::checks::check_turns(manifest);
  if (command == "synthesis") return print_synthesis(manifest);
  if (command == "decoder" && count == 4) return tacoglow::checks::print_decoder(manifest, arguments[3]);
  if (command == "steps" && count == 8)
    tacoglow::checks::run_steps(manifest, arguments[3], arguments[4], std::atoll(arguments[5]),
                                std::atoll(arguments[6]), std::atoll(arguments[7]));
  if (command == "fused" && count == 4) tacoglow::checks::check_fused(manifest, arguments[3]);
  if (command == "rows" && count == 4) {
    tacoglow::checks::check_rows(manifest, arguments[3]);
    tacoglow::checks::check_row_requests(manifest, arguments[3]);
  }
  if (command == "device_noise" && count == 4) tacoglow::checks::check_device_noise(manifest, arguments[3]);
  if (command == "tensorrt" && count == 4) tacoglow::checks::check_tensorrt(manifest, arguments[3]);
  std::printf("ok\n");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
    return EXIT_SUCCESS;
  } catch (const tacoglow::Error& error) {
    std::printf("rejected with %d: %s\n", static_cast<int>(error.status), error.what());
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
