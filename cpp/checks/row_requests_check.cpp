// Requests whose utterances are rows that share decoder steps on the pretended GPU: each is what it is alone.

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "error.hpp"
#include "rows_check.hpp"
#include "same_speech.hpp"
#include "scheduling/scheduler.hpp"

namespace tacoglow::checks {
namespace {

using namespace scheduling;

constexpr Profile several_rows = {0, steps, steps};  // as many as the bundle allows

std::int64_t chunks_of(const Manifest& manifest, std::int64_t frames) {
  return (frames / manifest.frames_per_step + steps - 1) / steps;
}

Request request_of(const Voice& voice, std::uint64_t seed, std::int64_t length) {
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(length), static_cast<std::int32_t>(1 + seed % 20));
  Request request = request_for(voice, 2 * seed, ids);  // even seeds have no limit
  request.decoding.gate_threshold = never;
  return request;
}

std::shared_ptr<Handle> submit(Scheduler& scheduler, const Request& request, bool is_stream = false,
                               Callbacks callbacks = {}) {
  auto handle = std::make_shared<Handle>(std::move(callbacks), scheduler.voice()->manifest.sampling_rate);
  scheduler.submit(request, is_stream, "", handle);
  return handle;
}

// Has a request's progress callback call a function once, in the scheduler's thread.
class OnProgress {
 public:
  OnProgress(Request& request, std::function<void()> call) : call_(std::move(call)) {
    request.progress = [](const tacoglow_progress*, void* user) {
      if (auto call = std::exchange(static_cast<OnProgress*>(user)->call_, nullptr)) call();
      return 0;
    };
    request.progress_user = this;
  }
  OnProgress(const OnProgress&) = delete;
  OnProgress& operator=(const OnProgress&) = delete;

 private:
  std::function<void()> call_;
};

// Speaks requests that all come while the first one begins; returns how many launches they took.
std::int64_t speak_together(Scheduler& scheduler, std::vector<Request> requests, const std::vector<Speech>& expected) {
  std::promise<void> submitted;
  OnProgress wait(requests.front(), [&, all = submitted.get_future().share()] { all.wait(); });
  const std::int64_t before = count_launches(*scheduler.voice());
  std::vector<std::shared_ptr<Handle>> handles;
  for (const Request& request : requests) handles.push_back(submit(scheduler, request));
  submitted.set_value();
  for (std::size_t i = 0; i < handles.size(); ++i) require_same(handles[i]->result(), expected[i], "a scheduler");
  return count_launches(*scheduler.voice()) - before;
}

void check_sixteen_requests(const Manifest& manifest, const std::filesystem::path& plans) {
  const auto voice = open_with_tensorrt(manifest, plans);
  std::vector<Request> requests;
  std::vector<Speech> alone;
  for (std::uint64_t i = 0; i < 16; ++i) requests.push_back(request_of(*voice, i, 27 - static_cast<std::int64_t>(i)));
  Session session(voice);
  for (const Request& request : requests) alone.push_back(session.speak({request}).front());
  Scheduler apart(voice, {several_rows, 1, 0, 0}), together(voice, {several_rows, 0, 0, 0});
  const std::int64_t needed = speak_together(apart, requests, alone);
  std::int64_t chunks = 0;
  for (const Speech& speech : alone) chunks += chunks_of(manifest, speech.n_frames);
  require(needed == chunks && chunks > 16, "one row at a time should need each request's launches");
  const std::int64_t launched = speak_together(together, requests, alone);
  require(6 * launched <= needed,
          std::to_string(launched) + " launches, where rows by themselves need " + std::to_string(needed));
}

// Requests of all kinds, some of which are cancelled.
void check_mixed_requests(const Manifest& manifest, const std::filesystem::path& plans) {
  const auto voice = open_with_tensorrt(manifest, plans);
  std::vector<Request> requests;
  std::vector<Speech> alone;
  Session session(voice);
  for (std::uint64_t i = 0; i < 9; ++i) {
    requests.push_back(request_of(*voice, i, 1 + static_cast<std::int64_t>(i * 7 % 40)));
    if (i % 3 == 1) requests.back().decoding.gate_threshold = 0.7;
    if (i % 4 == 2) requests.back().decoding.max_frames = 3 * manifest.frames_per_step;
    if (i % 5 == 3) requests.back().decoding.attention_window = 2;
    requests.back().retries = i % 2 == 0 ? i % 3 : 0;  // the others are streams
    alone.push_back(session.speak({requests.back()}).front());
  }
  std::vector<std::unique_ptr<OnProgress>> cancels;
  Scheduler scheduler(voice, {several_rows, 5, 0, 0});
  std::vector<std::shared_ptr<Handle>> kept, cancelled;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    kept.push_back(submit(scheduler, requests[i], i % 2 == 1));
    if (i % 4 != 0) continue;
    Request leaving = requests[i];
    std::promise<std::shared_ptr<Handle>> own;
    cancels.push_back(std::make_unique<OnProgress>(
        leaving, [handle = own.get_future().share()] { handle.get()->cancel(); }));  // in the middle of it
    cancelled.push_back(submit(scheduler, leaving));
    own.set_value(cancelled.back());
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const Speech speech = kept[i]->result();
    require(speech.mel == alone[i].mel && speech.stop_reason == alone[i].stop_reason, "a request beside others");
    if (i % 2 == 0) require_same(speech, alone[i], "a request beside others");
  }
  for (const auto& handle : cancelled) {
    try {
      handle->result();
      require(false, "a cancelled request should have no result");
    } catch (const Error& error) {
      require(error.status == TACOGLOW_CANCELLED, "a cancelled request has another status");
    }
  }
}

// The other request waits for its row meanwhile.
void check_failing_request(const Manifest& manifest, const std::filesystem::path& plans) {
  const auto voice = open_with_tensorrt(manifest, plans);
  Request failing = request_of(*voice, 1, 3);  // short, and so due first
  const Request waiting = request_of(*voice, 0, 30);
  const Speech expected = Session(voice).speak({waiting}).front();
  OnProgress fails(failing, [] { refuse("cuGraphLaunch", launch_failed); });
  Callbacks mends;
  mends.on_end = [] { refuse("cuGraphLaunch", works); };
  Scheduler scheduler(voice, {several_rows, 1, 0, 0});
  const auto failed = submit(scheduler, failing, false, std::move(mends)), other = submit(scheduler, waiting);
  try {
    failed->result();
    require(false, "a request whose steps cannot be launched should fail");
  } catch (const Error& error) {
    require(error.status == TACOGLOW_BACKEND, std::string("another failure: ") + error.what());
  }
  require_same(other->result(), expected, "a request beside one that failed");
}

}  // namespace

void check_row_requests(const Manifest& manifest, const std::filesystem::path& plans) {
  check_sixteen_requests(manifest, plans);
  check_mixed_requests(manifest, plans);
  check_failing_request(manifest, plans);
}

}  // namespace tacoglow::checks
