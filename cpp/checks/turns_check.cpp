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

#include "fake_backend.hpp"
#include "host_steps.hpp"
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

class HeldInstance : public BackendInstance {
 public:
  HeldInstance(std::unique_ptr<BackendInstance> own, Hold& hold) : own_(std::move(own)), hold_(hold) {}

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    if (graph == "waveglow") hold_.begin(inputs.at("mel").shape()[2]);
    return own_->run(graph, inputs);
  }
  std::unique_ptr<HostSteps> start_on_host(DecoderInput input) override {
    return own_->start_on_host(std::move(input));
  }

 private:
  std::unique_ptr<BackendInstance> own_;
  Hold& hold_;
};

class HeldBackend : public Backend {
 public:
  HeldBackend(const Manifest& manifest, Hold& hold) : own_(open_fake_backend(manifest, 1, 1)), hold_(hold) {}

  std::unique_ptr<BackendInstance> create_instance() override {
    return std::make_unique<HeldInstance>(own_->create_instance(), hold_);
  }
  std::int64_t parallel_windows() const override { return own_->parallel_windows(); }

 private:
  std::unique_ptr<Backend> own_;
  Hold& hold_;
};

// A request for the whole. `when_decoded` is called in the scheduler's thread.
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
      const auto& self = *static_cast<Asked*>(user);
      if (static_cast<std::int64_t>(progress->frames_decoded) == self.n_frames) self.when_decoded();
      return 0;
    };
    request.progress_user = this;
    handle = std::make_shared<Handle>(Callbacks{}, voice.facts.sampling_rate);
    scheduler.submit(std::move(request), false, client, handle);
  }

  std::shared_ptr<Handle> handle = nullptr;
};

}  // namespace

// While one lane is held, and the express lane has nothing more urgent: a's first request is decoded while a has had
// more than b, and its second one when b has had more.
void check_turns(const Manifest& manifest) {
  Hold hold;
  const auto voice = std::make_shared<const Voice>(manifest, std::make_unique<HeldBackend>(manifest, hold), "held",
                                                   all_letters(manifest));
  std::promise<void> first_decoded, submitted;
  Asked urgent = {"b", 1, 8}, first = {"a", 40, 32}, second = {"a", 40, 16}, other = {"b", 40, 40},
        last = {"b", 40, 40};
  first.when_decoded = [&, is_first = true]() mutable {
    if (!std::exchange(is_first, false)) return;
    first_decoded.set_value();
    submitted.get_future().wait();
  };
  last.when_decoded = [&, is_first = true]() mutable {
    if (std::exchange(is_first, false)) hold.end.set_value();
  };
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
