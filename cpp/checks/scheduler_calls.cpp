#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "scheduler_check.hpp"

#if !defined(_WIN32)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace tacoglow::checks {
namespace {

// Equal requests for the whole, of clients in turn, which a callback submits so that none begins before all are there.
struct Burst {
  tacoglow_scheduler* scheduler = nullptr;
  tacoglow_request request{};
  std::size_t n_clients = 1;
  std::vector<tacoglow_handle*> submitted, ended;
  bool is_refused = false;
  std::promise<void> done;
};

void note_end(tacoglow_handle* handle, void* user) {
  auto& burst = *static_cast<Burst*>(user);
  burst.ended.push_back(handle);
  if (burst.ended.size() == burst.submitted.size()) burst.done.set_value();
}

void submit_all(tacoglow_handle*, void* user) {
  auto& burst = *static_cast<Burst*>(user);
  tacoglow_submission submission;
  tacoglow_submission_init(&submission);
  submission.on_end = note_end;
  submission.user = user;
  for (std::size_t i = 0; i < burst.submitted.size(); ++i) {
    const std::string client = std::to_string(i % burst.n_clients);
    submission.client = client.c_str();
    tacoglow_handle*& handle = burst.submitted[i];
    burst.is_refused |= tacoglow_submit(burst.scheduler, &burst.request, &submission, &handle) != TACOGLOW_OK;
  }
}

// Returns true if each client's requests have ended as they came.
bool is_in_order(const Burst& burst) {
  std::vector<std::size_t> next(burst.n_clients);
  for (std::size_t i = 0; i < next.size(); ++i) next[i] = i;
  for (tacoglow_handle* handle : burst.ended) {
    const auto place = std::find(burst.submitted.begin(), burst.submitted.end(), handle) - burst.submitted.begin();
    std::size_t& expected = next[static_cast<std::size_t>(place) % burst.n_clients];
    if (std::exchange(expected, expected + burst.n_clients) != static_cast<std::size_t>(place)) return false;
  }
  return true;
}

void print_outcome(tacoglow_status status) {
  std::printf("%d %s\n", status, status == TACOGLOW_OK ? "" : tacoglow_last_error());
}

}  // namespace

void check_order(const char* bundle, const char* backend, std::size_t n_requests, std::size_t n_clients) {
  const Voice voice(bundle, backend);
  const std::int32_t ids[] = {3, 1, 4, 1, 5};
  Burst burst;
  burst.n_clients = n_clients;
  burst.submitted.resize(n_requests);
  tacoglow_request_init(&burst.request);
  burst.request.ids = ids;
  burst.request.n_ids = 5;
  burst.request.retries = 0;
  burst.request.gate_threshold = 1.0 - 1e-12;
  burst.request.attention_stop = -1;
  burst.request.max_frames = 9;  // much less speech than the scheduler expects before it has learned that
  tacoglow_scheduler_options options;
  tacoglow_scheduler_options_init(&options);
  options.lanes = 1;  // several would end by chance
  require(tacoglow_scheduler_open(voice.voice, &options, &burst.scheduler) == TACOGLOW_OK, "open the scheduler");
  tacoglow_submission submission;
  tacoglow_submission_init(&submission);
  submission.on_end = submit_all;
  submission.user = &burst;
  tacoglow_handle* first = nullptr;
  require(tacoglow_submit(burst.scheduler, &burst.request, &submission, &first) == TACOGLOW_OK, "submit");
  burst.done.get_future().wait();
  require(!burst.is_refused && is_in_order(burst), "requests have overtaken each other");
  for (tacoglow_handle* handle : burst.submitted) tacoglow_handle_close(handle);
  tacoglow_handle_close(first);
  tacoglow_scheduler_close(burst.scheduler);
}

void print_fork(const char* bundle, const char* backend) {
#if defined(_WIN32)
  throw std::logic_error(std::string(bundle) + ", " + backend + ": there is no fork here");
#else
  const Voice voice(bundle, backend);
  const std::int32_t ids[] = {3, 1, 4, 1, 5};
  tacoglow_request request;
  tacoglow_request_init(&request);
  request.ids = ids;
  request.n_ids = 5;
  tacoglow_scheduler* scheduler = nullptr;
  require(tacoglow_scheduler_open(voice.voice, nullptr, &scheduler) == TACOGLOW_OK, "open the scheduler");
  tacoglow_handle* handle = nullptr;
  require(tacoglow_submit(scheduler, &request, nullptr, &handle) == TACOGLOW_OK, "submit");
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // whatever it waits for
    tacoglow_handle* another = nullptr;
    tacoglow_speech* speech = nullptr;
    const float* samples = nullptr;
    std::size_t n = 0;
    print_outcome(tacoglow_submit(scheduler, &request, nullptr, &another));
    print_outcome(tacoglow_handle_result(handle, &speech));
    print_outcome(tacoglow_handle_next(handle, &samples, &n));
    std::fflush(stdout);
    tacoglow_handle_cancel(handle);
    tacoglow_handle_close(handle);
    tacoglow_scheduler_close(scheduler);
    _exit(another == nullptr ? 0 : 1);
  }
  int status = -1;
  require(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a forked process fails or waits");
  tacoglow_speech* speech = nullptr;
  require(tacoglow_handle_result(handle, &speech) == TACOGLOW_OK, "the result where the threads are");
  tacoglow_speech_free(speech);
  tacoglow_handle_close(handle);
  tacoglow_scheduler_close(scheduler);
#endif
}

void print_without_threads(const char* bundle, const char* backend) {
#if defined(__linux__)
  const Voice voice(bundle, backend);
  const rlimit one = {1, 1};
  require(setrlimit(RLIMIT_NPROC, &one) == 0, "set the limit");
  require(geteuid() != 0 || setuid(65534) == 0, "leave root, who has no limit");
  tacoglow_scheduler* scheduler = nullptr;
  print_outcome(tacoglow_scheduler_open(voice.voice, nullptr, &scheduler));
  std::fflush(stdout);
  _exit(scheduler == nullptr ? 0 : 1);  // at once, because sanitizers want a thread at the end
#else
  throw std::logic_error(std::string(bundle) + ", " + backend + ": there is no limit of threads here");
#endif
}

void print_submission(const char* bundle, const char* backend, const tacoglow_request& request) {
  const Voice voice(bundle, backend);
  tacoglow_scheduler* scheduler = nullptr;
  require(tacoglow_scheduler_open(voice.voice, nullptr, &scheduler) == TACOGLOW_OK, "open the scheduler");
  tacoglow_handle* handle = nullptr;
  print_outcome(tacoglow_submit(scheduler, &request, nullptr, &handle));
  tacoglow_handle_close(handle);
  tacoglow_scheduler_close(scheduler);
}

}  // namespace tacoglow::checks
