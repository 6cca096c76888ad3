// A scheduler's request for fuzz_api.cpp, and what its callbacks do: they may submit, cancel, and close handles and the
// scheduler.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "fuzz_inputs.hpp"

inline void check_progress(const tacoglow_progress& progress) { REQUIRE(progress.utterance < progress.n_utterances); }

// Shared by its requests' listeners, which read it in callbacks.
struct OpenScheduler {
  tacoglow_scheduler* scheduler;  // nullptr once closed
  bool takes_text;

  OpenScheduler(tacoglow_scheduler* opened, bool is_of_text) : scheduler(opened), takes_text(is_of_text) {}

  void close() {
    tacoglow_scheduler_close(scheduler);
    scheduler = nullptr;  // not before, because callbacks may submit until it is closed
  }
};

struct Listener;

// A handle and its listener, which are closed in this order.
class Held {
 public:
  Held(tacoglow_handle* handle, std::unique_ptr<Listener> listener);
  Held(Held&& other) noexcept;
  Held& operator=(Held&& other) noexcept;
  ~Held();

  tacoglow_handle* handle() const { return handle_; }
  const Listener& listener() const { return *listener_; }

 private:
  tacoglow_handle* handle_;
  std::unique_ptr<Listener> listener_;
};

enum class Act { nothing, stop, cancel, submit, result, close_others, close_scheduler, close_own, n_kinds };

inline Act an_act() {
  if (pick(2) == 0) return Act::nothing;
  const Act act = static_cast<Act>(pick(static_cast<std::size_t>(Act::n_kinds)));
  return act == Act::close_scheduler && !rarely() ? Act::nothing : act;  // opening one takes long
}

// What the callbacks of a request do, once: drawn beforehand, because random numbers are for one thread.
struct Listener {
  std::shared_ptr<OpenScheduler> home;
  Act act = an_act();
  std::size_t wait = pick(4);  // callbacks before it acts; it acts in the last one at the latest
  bool has_acted = false;
  Request next{home->takes_text};  // that it may submit
  tacoglow_handle* own = nullptr;
  std::vector<Held> others;  // that it closes, of the same scheduler

  explicit Listener(std::shared_ptr<OpenScheduler> scheduler) : home(std::move(scheduler)) {}
  ~Listener() {
    others.clear();
    if (act == Act::close_scheduler) home->close();
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Submits a request whose callbacks are the listener's. It then belongs to a handle, which is added to `handles`, or
  // to itself, until it closes its own handle; returned if the request is refused.
  static std::unique_ptr<Listener> submit(std::unique_ptr<Listener> listener, std::vector<Held>& handles) {
    Request request(listener->home->takes_text);
    if (pick(4) == 0) {
      request.request.progress = on_progress;
      request.request.progress_user = listener.get();
    }
    const Cut cut(request.request);
    const Cut submission(listener->describe());
    const bool is_own = listener->act == Act::close_own;
    tacoglow_scheduler* scheduler = listener->home->scheduler;
    tacoglow_handle** own = &listener->own;
    Listener* owner_of_itself = is_own ? listener.release() : nullptr;
    const tacoglow_status status = tacoglow_submit(scheduler, rarely() ? nullptr : cut.get(), submission.get(), own);
    if (is_own && status != TACOGLOW_OK) listener.reset(owner_of_itself);
    check(status, listener == nullptr || listener->own != nullptr);
    if (status != TACOGLOW_OK) return listener;
    if (listener != nullptr) {
      tacoglow_handle* handle = listener->own;
      handles.emplace_back(handle, std::move(listener));
    }
    return nullptr;
  }

 private:
  // Its callbacks' user, the last field, may be cut off by a short struct_size.
  tacoglow_submission describe() {
    tacoglow_submission submission;
    tacoglow_submission_init(&submission);
    submission.stream = pick(3) == 0 ? 0 : 1;
    if (pick(2) == 0) submission.client = pick_from(texts);
    if (pick(2) == 0 && (submission.stream != 0 || rarely())) submission.on_segment = on_segment;
    if (act != Act::nothing || pick(4) == 0) submission.on_end = on_end;
    if (act == Act::nothing && rarely()) submission.struct_size = pick(sizeof submission + 100);
    submission.user = this;
    return submission;
  }

  static int on_segment(const float* samples, std::size_t n_samples, void* user) {
    REQUIRE(n_samples > 0);
    check_finite(samples, n_samples);
    return user == nullptr ? 0 : static_cast<Listener*>(user)->call(false);
  }

  static int on_progress(const tacoglow_progress* progress, void* user) {
    check_progress(*progress);
    return user == nullptr ? 0 : static_cast<Listener*>(user)->call(false);
  }

  static void on_end(tacoglow_handle* handle, void* user) {
    if (user == nullptr) return;
    auto& self = *static_cast<Listener*>(user);
    REQUIRE(handle == self.own);
    self.call(true);
  }

  // Acts, in a thread of the scheduler, and returns the callback's answer. The listener may be gone then.
  int call(bool is_last) {
    if (has_acted || (!is_last && (wait-- > 0 || act == Act::result))) return 0;
    has_acted = true;
    switch (act) {
      case Act::stop:
        return 1;
      case Act::cancel:
        tacoglow_handle_cancel(own);
        return 0;
      case Act::submit:
        submit_next();
        return 0;
      case Act::result:
        take_result();
        return 0;
      case Act::close_others:
        others.clear();
        return 0;
      case Act::close_scheduler:
        home->close();
        return 0;
      case Act::close_own:
        tacoglow_handle_close(own);
        delete this;
        return 0;
      default:
        return 0;
    }
  }

  void submit_next() {
    if (home->scheduler == nullptr) return;
    tacoglow_handle* handle = nullptr;
    const tacoglow_status status = tacoglow_submit(home->scheduler, &next.request, nullptr, &handle);
    check(status, handle != nullptr);
    if (handle != nullptr) others.emplace_back(handle, nullptr);
  }

  void take_result() const {
    tacoglow_speech* speech = nullptr;
    const tacoglow_status status = tacoglow_handle_result(own, &speech);
    check(status, speech != nullptr);
    if (speech != nullptr) check_speech(speech);
    tacoglow_speech_free(speech);
  }
};

inline Held::Held(tacoglow_handle* handle, std::unique_ptr<Listener> listener)
    : handle_(handle), listener_(std::move(listener)) {}

inline Held::Held(Held&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), listener_(std::move(other.listener_)) {}

inline Held& Held::operator=(Held&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(listener_, other.listener_);
  return *this;
}

inline Held::~Held() { tacoglow_handle_close(handle_); }
