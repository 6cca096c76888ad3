// A scheduler's requests for the whole: their deadlines, their progress, and their end while they are vocoded.

#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "error.hpp"
#include "same_speech.hpp"
#include "scheduling/scheduler.hpp"
#include "scheduling/task.hpp"

namespace tacoglow::checks {
namespace {

using namespace scheduling;

constexpr std::int64_t n_frames = 25, window_frames = 5;
using Counts = std::set<std::size_t>;

Manifest with_small_windows(Manifest manifest) {
  manifest.synthesis.window_frames = window_frames;
  return manifest;
}

// A request with four windows after its first one, and the frames that its progress callback was told of.
struct Reported {
  const std::vector<std::int32_t> ids = {3, 1, 4, 1, 5};
  Counts decoded, vocoded;
  std::set<std::thread::id> threads;
  std::size_t stop_at = n_frames;  // vocoded frames
  Request request;

  explicit Reported(const Voice& voice) : request(request_for(voice, 2, ids)) {
    request.decoding.gate_threshold = 1.0 - 1e-12;  // which is never reached
    request.decoding.max_frames = n_frames;
    request.progress = [](const tacoglow_progress* progress, void* user) {
      auto& self = *static_cast<Reported*>(user);
      self.decoded.insert(progress->frames_decoded);
      self.vocoded.insert(progress->frames_vocoded);
      self.threads.insert(std::this_thread::get_id());
      return progress->frames_vocoded >= self.stop_at ? 1 : 0;
    };
    request.progress_user = this;
  }
  Reported(const Reported&) = delete;
  Reported& operator=(const Reported&) = delete;

  Speech speak(const std::shared_ptr<const Voice>& voice) const {
    Scheduler scheduler(voice, {find_profile(nullptr), 0, 0, 0});
    const auto handle = std::make_shared<Handle>(Callbacks{}, voice->manifest.sampling_rate);
    scheduler.submit(request, false, "", handle);
    return handle->result();
  }
};

void check_progress(const std::shared_ptr<const Voice>& voice, const std::string& what) {
  Reported own(*voice), alone(*voice);
  require_same(own.speak(voice), Session(voice).speak({alone.request}).front(), what);
  const Counts expected = {0, 5, 10, 15, 20};
  require(alone.vocoded == expected, what + ": a session reports other windows");
  require(own.vocoded == expected, what + ": a scheduler reports other windows");
  require(own.threads.size() == 1, what + ": a scheduler reports in several threads");
  require(own.decoded.count(n_frames) == 1, what + ": a scheduler does not report the last frame");
}

// The vocoder runs in the scheduler's thread, so that the number of its windows is known.
void check_stopping(const std::shared_ptr<const Voice>& voice, const std::size_t& n_windows) {
  Reported stopped(*voice);
  stopped.stop_at = 10;
  const std::size_t before = n_windows;
  try {
    stopped.speak(voice);
    require(false, "a request that was stopped should have no result");
  } catch (const Error& error) {
    require(error.status == TACOGLOW_CANCELLED, std::string("a stopped request fails otherwise: ") + error.what());
  }
  require(stopped.vocoded == Counts{0, 5, 10}, "a stopped request reports more");
  require(n_windows - before == 2, "a stopped request is vocoded further");
}

// 5 tokens of 60 ms each at rate 1.
void check_deadline(const std::shared_ptr<const Voice>& voice) {
  for (const double rate : {0.5, 1.0, 2.0}) {
    Reported reported(*voice);
    reported.request.rate = rate;
    auto ticket = std::make_unique<Ticket>(std::make_shared<Backlog>(100), "", 5);
    const auto handle = std::make_shared<Handle>(Callbacks{}, voice->manifest.sampling_rate);
    const WholeTask task({voice, handle, reported.request, std::move(ticket), 10.0});
    require(std::abs(task.deadline() - (10.0 + 0.3 / rate)) < 1e-9, "another deadline");
  }
}

// In a forked process, a lock may be held for ever, so cancelling touches nothing.
void check_cancelling_in_a_fork() {
#if !defined(_WIN32)
  Handle handle(Callbacks{}, 22050);
  const pid_t child = fork();
  if (child == 0) {
    handle.cancel();
    _exit(handle.has_ended() ? 1 : 0);
  }
  int status = -1;
  require(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a forked process cancels");
  handle.cancel();
  require(handle.has_ended(), "a handle that is cancelled has not ended");
#endif
}

}  // namespace

void check_whole_requests(const Manifest& given) {
  const Manifest manifest = with_small_windows(given);
  check_cancelling_in_a_fork();
  const auto host = fake_voice(manifest, 1, 1);
  check_deadline(host);
  check_progress(host, "in lanes");
  std::size_t n_windows = 0;
  const auto count = [&](const std::string& graph, const Tensors&) { n_windows += graph == "waveglow" ? 1 : 0; };
  const auto device = fake_voice(manifest, 4, 2, {}, count);
  check_progress(device, "on a device");
  check_stopping(device, n_windows);
}

}  // namespace tacoglow::checks
