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

// Equal requests for the whole, of one client. A callback submits the first ones, so that none begins before all of
// them are there, and at each end another one.
struct Queue {
  tacoglow_scheduler* scheduler = nullptr;
  tacoglow_request request{};
  std::size_t n_requests = 0, n_in_flight = 0;
  std::vector<tacoglow_handle*> submitted, ended;
  bool is_refused = false;
  std::promise<void> done;
};

void note_end(tacoglow_handle* handle, void* user);

void submit_next(Queue& queue) {
  tacoglow_submission submission;
  tacoglow_submission_init(&submission);
  submission.on_end = note_end;
  submission.user = &queue;
  tacoglow_handle*& handle = queue.submitted.emplace_back();
  queue.is_refused |= tacoglow_submit(queue.scheduler, &queue.request, &submission, &handle) != TACOGLOW_OK;
}

void note_end(tacoglow_handle* handle, void* user) {
  auto& queue = *static_cast<Queue*>(user);
  queue.ended.push_back(handle);
  if (queue.submitted.size() < queue.n_requests) submit_next(queue);
  if (queue.ended.size() == queue.n_requests) queue.done.set_value();
}

void submit_first_ones(tacoglow_handle*, void* user) {
  auto& queue = *static_cast<Queue*>(user);
  while (queue.submitted.size() < queue.n_in_flight) submit_next(queue);
}

#if !defined(_WIN32)
// Holds the scheduler's thread in the first callback.
struct Hold {
  bool was_held = false;
  std::promise<void> begun, end;
};

int hold_once(const tacoglow_progress*, void* user) {
  auto& hold = *static_cast<Hold*>(user);
  if (std::exchange(hold.was_held, true)) return 0;
  hold.begun.set_value();
  hold.end.get_future().wait();
  return 0;
}
#endif

void print_outcome(tacoglow_status status) {
  std::printf("%d %s\n", status, status == TACOGLOW_OK ? "" : tacoglow_last_error());
}

}  // namespace

void check_order(const char* bundle, const char* backend, std::size_t n_requests, std::size_t n_in_flight) {
  const Voice voice(bundle, backend);
  const std::int32_t ids[] = {3, 1, 4, 1, 5};
  Queue queue;
  queue.n_requests = n_requests;
  queue.n_in_flight = n_in_flight;
  tacoglow_request_init(&queue.request);
  queue.request.ids = ids;
  queue.request.n_ids = 5;
  queue.request.retries = 0;
  queue.request.gate_threshold = 1.0 - 1e-12;
  queue.request.attention_stop = -1;
  queue.request.max_frames = 9;  // much less speech than the scheduler expects
  tacoglow_scheduler_options options;
  tacoglow_scheduler_options_init(&options);
  options.lanes = 1;  // several would end by chance
  require(tacoglow_scheduler_open(voice.voice, &options, &queue.scheduler) == TACOGLOW_OK, "open the scheduler");
  tacoglow_submission submission;
  tacoglow_submission_init(&submission);
  submission.on_end = submit_first_ones;
  submission.user = &queue;
  tacoglow_handle* first = nullptr;
  require(tacoglow_submit(queue.scheduler, &queue.request, &submission, &first) == TACOGLOW_OK, "submit");
  queue.done.get_future().wait();
  require(!queue.is_refused && queue.ended == queue.submitted, "requests have overtaken each other");
  for (tacoglow_handle* handle : queue.submitted) tacoglow_handle_close(handle);
  tacoglow_handle_close(first);
  tacoglow_scheduler_close(queue.scheduler);
}

// The process is forked while a callback runs and the backlog is full.
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
  Hold hold;
  request.progress = hold_once;
  request.progress_user = &hold;
  tacoglow_scheduler_options options;
  tacoglow_scheduler_options_init(&options);
  options.max_backlog = 1;
  tacoglow_scheduler* scheduler = nullptr;
  require(tacoglow_scheduler_open(voice.voice, &options, &scheduler) == TACOGLOW_OK, "open the scheduler");
  tacoglow_handle* handle = nullptr;
  require(tacoglow_submit(scheduler, &request, nullptr, &handle) == TACOGLOW_OK, "submit");
  hold.begun.get_future().wait();
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
  hold.end.set_value();
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
