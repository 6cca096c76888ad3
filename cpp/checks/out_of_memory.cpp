// Lets allocations fail while a scheduler speaks on the fake backend, with operators new and delete of its own:
//
//   out_of_memory BUNDLE BACKEND ROUNDS     prints "ok" if requests then end with their speech or out of memory, each
//                                           once, and the next request is spoken as if nothing had happened

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "tacoglow.h"

namespace {

std::atomic<long> n_allocations = 0, first_failing = 0, stop_failing = 0;  // counted from arm() on

void arm(long first, long count) {
  first_failing = first;
  stop_failing = first + count;
  n_allocations = 0;
}

void disarm() { stop_failing = 0; }

}  // namespace

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  const long index = n_allocations++;
  return index >= first_failing && index < stop_failing ? nullptr : std::malloc(size > 0 ? size : 1);
}

void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

constexpr int n_requests = 4, n_forms = 3;

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(std::string(what) + "; last error: " + tacoglow_last_error());
}

struct Form {
  bool is_stream, calls_back;
};
constexpr Form forms[n_forms] = {{false, false}, {true, false}, {true, true}};

struct Listener {
  std::vector<float> samples;
  std::promise<void> ended;
  int ends = 0;
};

int collect(const float* samples, std::size_t n, void* user) {
  auto& listener = *static_cast<Listener*>(user);
  listener.samples.insert(listener.samples.end(), samples, samples + n);  // has the memory for it
  return 0;
}

void note_end(tacoglow_handle*, void* user) {
  auto& listener = *static_cast<Listener*>(user);
  if (++listener.ends == 1) listener.ended.set_value();
}

// A request of one form, from its submission to its end.
struct Speaking {
  Form form;
  Listener listener;
  tacoglow_handle* handle = nullptr;
  tacoglow_status status = TACOGLOW_OK;

  explicit Speaking(Form own) : form(own) { listener.samples.reserve(1 << 20); }
  ~Speaking() { tacoglow_handle_close(handle); }
  Speaking(const Speaking&) = delete;
  Speaking& operator=(const Speaking&) = delete;

  void submit(tacoglow_scheduler* scheduler, std::uint64_t seed) {
    static const std::int32_t ids[] = {3, 1, 4, 1, 5};
    tacoglow_request request;
    tacoglow_request_init(&request);
    request.ids = ids;
    request.n_ids = 5;
    request.seed = seed;
    request.gate_threshold = 0.9;
    request.first_segment_frames = request.segment_frames = 5;
    tacoglow_submission submission;
    tacoglow_submission_init(&submission);
    submission.client = "a client whose name needs memory";
    submission.stream = form.is_stream ? 1 : 0;
    submission.on_segment = form.calls_back ? collect : nullptr;
    submission.on_end = note_end;
    submission.user = &listener;
    status = tacoglow_submit(scheduler, &request, &submission, &handle);
  }

  void finish() {
    const bool was_accepted = handle != nullptr;
    const float* samples = nullptr;
    std::size_t n = 1;
    while (form.is_stream && !form.calls_back && status == TACOGLOW_OK && n > 0) {
      status = tacoglow_handle_next(handle, &samples, &n);
      collect(samples, n, &listener);
    }
    tacoglow_speech* speech = nullptr;
    if (status == TACOGLOW_OK) status = tacoglow_handle_result(handle, &speech);
    if (speech != nullptr && !form.is_stream) collect(speech->samples, speech->n_samples, &listener);
    tacoglow_speech_free(speech);
    require(status == TACOGLOW_OK || status == TACOGLOW_OUT_OF_MEMORY, "a request ends");
    if (was_accepted) listener.ended.get_future().wait();
    require(listener.ends == (was_accepted ? 1 : 0), "the end is announced once");
  }
};

struct Outcome {
  long n_allocations;
  int n_failed;
};

// Asks for a speech that is ready, each of whose allocations fails once.
void check_result(tacoglow_scheduler* scheduler, const std::vector<float>& expected) {
  Speaking ready(forms[0]);
  ready.submit(scheduler, 0);
  ready.listener.ended.get_future().wait();
  tacoglow_speech* speech = nullptr;
  long index = 0;
  for (tacoglow_status status = TACOGLOW_OUT_OF_MEMORY; status != TACOGLOW_OK; ++index) {
    require(status == TACOGLOW_OUT_OF_MEMORY, "a speech that there was no memory for can be asked for again");
    arm(index, 1);
    status = tacoglow_handle_result(ready.handle, &speech);
    disarm();
  }
  ready.listener.samples.assign(speech->samples, speech->samples + speech->n_samples);
  tacoglow_speech_free(speech);
  require(index > 1 && ready.listener.samples == expected, "the speech that was asked for again");
}

// Speaks several requests, some allocations of which fail, and then one of each form.
Outcome run(tacoglow_voice* voice, const std::vector<std::vector<float>>& expected, long first, long count) {
  std::vector<std::unique_ptr<Speaking>> requests;
  for (int i = 0; i < n_requests * n_forms; ++i) requests.push_back(std::make_unique<Speaking>(forms[i % n_forms]));
  arm(first, count);
  tacoglow_scheduler* scheduler = nullptr;
  const tacoglow_status opened = tacoglow_scheduler_open(voice, nullptr, &scheduler);
  require(opened == (scheduler != nullptr ? TACOGLOW_OK : TACOGLOW_OUT_OF_MEMORY), "open a scheduler");
  Outcome outcome = {0, 0};
  if (scheduler != nullptr) {
    for (auto& each : requests) each->submit(scheduler, 0);
    for (auto& each : requests) {
      each->finish();
      if (each->status != TACOGLOW_OK)
        ++outcome.n_failed;
      else
        require(each->listener.samples == expected[each->form.is_stream ? 1 : 0], "speech beside what fails");
    }
  }
  outcome.n_allocations = n_allocations;
  disarm();
  require(count > 1 || outcome.n_failed < n_requests * n_forms, "a single failure ends not all requests");
  for (const Form form : forms) {
    if (scheduler == nullptr) break;
    Speaking next(form);
    next.submit(scheduler, 0);
    next.finish();
    require(next.status == TACOGLOW_OK, "the next request");
    require(next.listener.samples == expected[form.is_stream ? 1 : 0], "the speech of the next request");
  }
  tacoglow_scheduler_close(scheduler);
  return outcome;
}

// Returns the speech of each form alone: whole, and as a stream, whose vocoder sees less.
std::vector<std::vector<float>> speak_alone(tacoglow_voice* voice) {
  std::vector<std::vector<float>> spoken;
  tacoglow_scheduler* scheduler = nullptr;
  require(tacoglow_scheduler_open(voice, nullptr, &scheduler) == TACOGLOW_OK, "open a scheduler");
  for (const Form form : {forms[0], forms[1]}) {
    Speaking alone(form);
    alone.submit(scheduler, 0);
    alone.finish();
    require(alone.status == TACOGLOW_OK && !alone.listener.samples.empty(), "speak alone");
    spoken.push_back(alone.listener.samples);
  }
  check_result(scheduler, spoken[0]);
  tacoglow_scheduler_close(scheduler);
  return spoken;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    require(argc == 4, "usage: out_of_memory BUNDLE BACKEND ROUNDS");
    tacoglow_open_options options;
    tacoglow_open_options_init(&options);
    options.backend = argv[2];
    tacoglow_voice* voice = nullptr;
    require(tacoglow_voice_open(argv[1], &options, &voice) == TACOGLOW_OK, "open the voice");
    const auto expected = speak_alone(voice);
    const long total = run(voice, expected, 0, 0).n_allocations, rounds = std::atol(argv[3]);
    int n_failed = 0;
    for (long i = 0; i < rounds; ++i)
      n_failed += run(voice, expected, i * total / rounds, i % 3 == 0 ? 1 : i % 3 == 1 ? 7 : 100).n_failed;
    require(n_failed > rounds, "too few requests have failed");
    tacoglow_voice_close(voice);
    std::printf("ok\n");
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
