// Checks that the TensorRT backend on the pretended driver and a simulated TensorRT gives the same samples as the fake
// backend.

#include <fstream>
#include <new>
#include <thread>
#include <utility>

#include "bundle_files.hpp"
#include "cuda.hpp"
#include "error.hpp"
#include "same_speech.hpp"
#include "simulated/NvInferRuntime.h"

namespace tacoglow::checks {

std::shared_ptr<const Voice> open_with_tensorrt(const Manifest& manifest, const std::filesystem::path& plans,
                                                std::int32_t version, std::int64_t max_batch) {
  simulated::call_driver<void>("pretend_reset", true);
  simulated::tensorrt() = {};
  simulated::tensorrt().version = version;
  simulated::tensorrt().manifest = &manifest;
  simulated::tensorrt().max_batch = max_batch;
  BackendOptions options;
  options.plans = plans;
  return std::make_shared<const Voice>(manifest, open_tensorrt(FolderFiles(""), manifest, options), "tensorrt",
                                       all_letters(manifest));
}

namespace {

std::int64_t count_calls(const char* function) {
  return simulated::call_driver<std::int64_t>("pretend_count", function);
}

std::vector<Request> requests_for(const Voice& voice) {
  std::vector<Request> requests;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const std::vector<std::int32_t> ids(1 + seed * 17 % 40, static_cast<std::int32_t>(1 + seed));
    requests.push_back(request_for(voice, seed, ids));
  }
  requests[4].decoding.gate_threshold = 0.99;  // never exceeded, so that it has several chunks of steps
  for (const std::size_t i : {3, 4}) requests[i].vocoding.denoise = 0.1;  // at sizes that are not prepared
  requests[1].decoding.attention_window = 2;
  return requests;
}

// A voice on the fake backend with the windows that TensorRT's vocoder has.
std::shared_ptr<const Voice> plain_voice(const Manifest& manifest, const Voice& tensorrt) {
  return fake_voice(manifest, 1, 1, tensorrt.backend->create_instance()->window_sizes(manifest.vocoder));
}

std::size_t padded_samples(const Manifest& manifest) {
  return static_cast<std::size_t>(manifest.frames_after * manifest.hop_length + manifest.filter_length);
}

// Runs batches, single requests and streams in several token buckets, twice.
void speak(Session& session, const std::vector<Request>& requests, const std::vector<Speech>& expected) {
  for (int round = 0; round < 2; ++round) {
    const auto together = session.speak(requests);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      require_same(together[i], expected[i], "TensorRT, in a batch,");
      require_same(session.speak({requests[i]}).front(), expected[i], "TensorRT");
      check_stream(session, requests[i], expected[i], padded_samples(session.voice().manifest));
    }
  }
}

void check_version(const Manifest& manifest, const std::filesystem::path& plans, std::int32_t version) {
  const auto voice = open_with_tensorrt(manifest, plans, version);
  Session plain(plain_voice(manifest, *voice));
  const auto requests = requests_for(*voice);
  const auto expected = plain.speak(requests);
  std::vector<std::exception_ptr> failures(3);
  std::vector<std::thread> threads;
  for (auto& failure : failures)
    threads.emplace_back([&] {
      try {
        Session session(voice);
        speak(session, requests, expected);
      } catch (...) {
        failure = std::current_exception();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
  for (const auto* graph : {"decoder_step", "encoder"})
    for (const std::int32_t profile : {0, 1})
      require(simulated::tensorrt().profiles.count({graph, profile}) == 1,
              std::string(graph) + ": profile " + std::to_string(profile) + " should be used for the shapes it is for");
  const auto graphs = static_cast<int>(manifest.graphs.size());
  const int loaded = simulated::tensorrt().n_engines;
  require(version >= 8600 ? loaded == graphs : loaded > 2 * graphs,
          std::to_string(loaded) + " engines were loaded by TensorRT " + std::to_string(version));
  require(count_calls("cuGraphLaunch") > 0, "decoder steps should be launched as CUDA graphs");
}

// Steps that cannot be captured are enqueued one by one, with the same samples.
void check_failed_capture(const Manifest& manifest, const std::filesystem::path& plans, const std::string& at) {
  const auto voice = open_with_tensorrt(manifest, plans);
  simulated::tensorrt().refuses_captures = at == "TensorRT";
  if (at == "driver") simulated::call_driver<void>("pretend_reject_captures", true);
  if (at == "instantiation") simulated::call_driver<void>("pretend_refuse", "cuGraphInstantiateWithFlags", 1);
  Session session(voice), plain(plain_voice(manifest, *voice));
  const auto requests = requests_for(*voice);
  const auto expected = plain.speak(requests), got = session.speak(requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    require_same(got[i], expected[i], "TensorRT without CUDA graphs");
    check_stream(session, requests[i], expected[i], padded_samples(manifest));
  }
  require(count_calls("cuGraphLaunch") == 0, "no CUDA graph should be left if captures fail in: " + at);
}

// A session that has decoded an utterance of this length before launches CUDA graphs only, and allocates nothing.
void check_prepared(const Manifest& manifest, const std::filesystem::path& plans) {
  const auto voice = open_with_tensorrt(manifest, plans);
  Session session(voice);
  const Request request = requests_for(*voice)[2];
  session.speak({request});
  const auto count = [] {
    std::vector<std::int64_t> counts = {simulated::tensorrt().n_enqueued};
    for (const auto* call : {"cuGraphInstantiateWithFlags", "cuMemAlloc", "cuMemAllocHost", "cuEventCreate",
                             "cuStreamCreate", "cuStreamBeginCapture"})
      counts.push_back(count_calls(call));
    return counts;
  };
  const auto before = count();
  Request other = request;
  other.seed += 1;
  session.speak({other});
  session.stream(request, [](const std::vector<float>&) {});
  require(count() == before, "a later utterance should only launch CUDA graphs, and allocate nothing");
  Session second(voice);
  const std::int64_t captured = count_calls("cuGraphInstantiateWithFlags");
  second.speak({request});
  require(count_calls("cuGraphInstantiateWithFlags") == captured + 1,
          "a session's first utterance should only capture a chunk of decoder steps");
}

// A callback may make another GPU the thread's current one.
void check_other_gpu(const Manifest& manifest, const std::filesystem::path& plans) {
  static int other_gpu = 0;
  const auto voice = open_with_tensorrt(manifest, plans);
  Session session(voice);
  for (std::size_t i : {1, 4}) {  // with a window of the attention, and of several chunks of steps
    Request request = requests_for(*voice)[i];
    request.first_segment_frames = request.segment_frames = 1;
    int segments = 0;
    session.stream(request, [&](const std::vector<float>&) {
      ++segments;
      simulated::call_driver<int>("cuCtxSetCurrent", static_cast<void*>(&other_gpu));
    });
    require(segments > 1, "the text should have several segments");
  }
}

// Whatever ends a capture, its stream can be used again.
void check_stream_after_capture(const Manifest& manifest, const std::filesystem::path& plans) {
  const auto voice = open_with_tensorrt(manifest, plans);
  const CudaStream stream = make_stream();
  try {
    capture(stream.get(), [] { throw std::bad_alloc(); });
    require(false, "a capture should not hide that there is no memory");
  } catch (const std::bad_alloc&) {
    wait_for(stream.get(), "use a stream after a capture");
  }
}

void check_rejected(const Manifest& manifest, const std::filesystem::path& plans, const std::string& message) {
  try {
    open_with_tensorrt(manifest, plans);
  } catch (const Error& error) {
    const std::string what = error.what();
    return require(what.find(message) != std::string::npos, "expected '" + message + "', got: " + what);
  }
  require(false, "should be rejected: " + message);
}

void check_unloadable_plan(const Manifest& manifest, const std::filesystem::path& plans) {
  const std::filesystem::path plan = plans / "postnet.plan";
  std::ofstream(plan) << "not a plan";
  check_rejected(manifest, plans, "postnet.plan: TensorRT cannot load this plan: the plan was built elsewhere");
  std::filesystem::remove(plan);
  std::filesystem::create_symlink(plan, plan);
  check_rejected(manifest, plans, "postnet.plan: cannot read this plan; build the plans again");
}

}  // namespace

void check_device_noise(const Manifest& manifest, const std::filesystem::path& plans) {
  constexpr float tolerance = 1e-6F;  // z is drawn in float32, within 1e-6, and is a tenth of a sample
  const auto voice = open_with_tensorrt(manifest, plans);
  Session session(voice), plain(plain_voice(manifest, *voice));
  const auto requests = requests_for(*voice);
  const auto expected = plain.speak(requests), together = session.speak(requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    require_same(together[i], expected[i], "noise drawn on the GPU, in a batch,", tolerance);
    require_same(session.speak({requests[i]}).front(), expected[i], "noise drawn on the GPU", tolerance);
    check_stream(session, requests[i], expected[i], padded_samples(manifest));
  }
  for (const auto* kernel : {"kernel draw_dropout", "kernel draw_z"})
    require(count_calls(kernel) > 0, std::string("should run on the GPU: ") + kernel);
  check_prepared(manifest, plans);
}

void check_tensorrt(const Manifest& manifest, const std::filesystem::path& plans) {
  for (const std::int32_t version : {8503, 8601, 110100}) check_version(manifest, plans, version);
  for (const char* at : {"TensorRT", "driver", "instantiation"}) check_failed_capture(manifest, plans, at);
  check_prepared(manifest, plans);
  check_other_gpu(manifest, plans);
  check_stream_after_capture(manifest, plans);
  check_unloadable_plan(manifest, plans);
}

}  // namespace tacoglow::checks
