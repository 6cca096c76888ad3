// Checks that one client's equal requests are vocoded in the order in which they came, although its debt changes while
// some of them wait.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "same_speech.hpp"
#include "scheduling/scheduler.hpp"

namespace tacoglow::checks {
namespace {

using namespace scheduling;

// Notes how many frames the vocoder begins with each time, and holds its first run.
struct Hold {
  std::mutex mutex;
  std::vector<std::int64_t> n_frames;
  std::promise<void> begun, end;

  void begin(std::int64_t n) {
    {
      const std::lock_guard lock(mutex);
      n_frames.push_back(n);
      if (n_frames.size() > 1) return;
    }
    begun.set_value();
    end.get_future().wait();
  }
};

// A request for the whole. `when_decoded` is called once, in the scheduler's thread.
struct Asked {
  std::string client;
  std::size_t n_tokens;
  std::int64_t n_frames;
  std::function<void()> when_decoded = [] {};

  void submit(Scheduler& scheduler, const Voice& voice) {
    const std::vector<std::int32_t> ids(n_tokens, 1);
    Request request = request_for(voice, 0, ids);
    request.decoding.gate_threshold = 1.0 - 1e-12;  // which is never reached
    request.decoding.max_frames = n_frames;
    request.progress = [](const tacoglow_progress* progress, void* user) {
      auto& self = *static_cast<Asked*>(user);
      const bool is_decoded = static_cast<std::int64_t>(progress->frames_decoded) == self.n_frames;
      if (is_decoded && !std::exchange(self.was_decoded, true)) self.when_decoded();
      return 0;
    };
    request.progress_user = this;
    handle = std::make_shared<Handle>(Callbacks{}, voice.facts.sampling_rate);
    scheduler.submit(std::move(request), false, client, handle);
  }

  bool was_decoded = false;
  std::shared_ptr<Handle> handle = nullptr;
};

}  // namespace

// While one lane is held, and the express lane has nothing more urgent: a's first request is decoded while a has had
// more than b, and its second one when b has had more.
void check_turns(const Manifest& manifest) {
  Hold hold;
  const auto hold_vocoder = [&hold](const std::string& graph, const Tensors& inputs) {
    if (graph == "waveglow") hold.begin(inputs.at("mel").shape()[2]);
  };
  const auto voice = fake_voice(manifest, 1, 1, {}, hold_vocoder);
  std::promise<void> first_decoded, submitted;
  Asked urgent = {"b", 1, 8}, first = {"a", 40, 32}, second = {"a", 40, 16}, other = {"b", 40, 40},
        last = {"b", 40, 40};
  first.when_decoded = [&] {
    first_decoded.set_value();
    submitted.get_future().wait();
  };
  last.when_decoded = [&] { hold.end.set_value(); };
  {
    Scheduler scheduler(voice, {find_profile(nullptr), 0, 1, 0});
    urgent.submit(scheduler, *voice);
    hold.begun.get_future().wait();
    first.submit(scheduler, *voice);
    first_decoded.get_future().wait();
    for (Asked* asked : {&second, &other, &last}) asked->submit(scheduler, *voice);
    submitted.set_value();
    for (Asked* asked : {&urgent, &first, &second, &other, &last}) asked->handle->result();
  }
  const auto place = [&](const Asked& asked) {
    return std::find(hold.n_frames.begin(), hold.n_frames.end(), asked.n_frames) - hold.n_frames.begin();
  };
  require(place(urgent) == 0 && hold.n_frames.size() == 5, "the first request should have held the lane");
  require(place(first) < place(second), "a client's requests have overtaken each other");
}

}  // namespace tacoglow::checks
