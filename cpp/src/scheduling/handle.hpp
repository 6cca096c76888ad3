// The caller's end of a request: segments and the result, as they become available.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "error.hpp"
#include "process.hpp"
#include "utterance.hpp"

namespace tacoglow::scheduling {

// Called in the scheduler's thread, one at a time.
struct Callbacks {
  std::function<bool(const std::vector<float>&)>
      on_segment;                // returns false to cancel; empty: segments wait for next()
  std::function<void()> on_end;  // called once, when the request has ended
};

// Every function may be called from any thread, and from the callbacks.
class Handle {
 public:
  Handle(Callbacks callbacks, std::int64_t sampling_rate);

  // For the caller.

  // Waits for the next segment of a stream; returns false if there are no more. Throws the Error that ended the
  // request, and Error (request) in a forked process.
  bool next(std::vector<float>& samples);
  // Waits for the complete speech, and hands it over. Throws the Error that ended the request, and Error (request) if
  // it was handed over before or in a forked process.
  Speech result();
  // Ends the request, unless it has ended. In a forked process, this and abandon() do nothing.
  void cancel() noexcept;
  // The same; afterwards no callback runs, unless this is called in one, which then is the last.
  void abandon() noexcept;

  // For the scheduler.

  // `wake` is called when the caller cancels.
  void set_wake(std::function<void()> wake);
  bool has_ended() const;
  // Seconds of speech that nobody has taken yet; 0 if somebody waits for the complete speech.
  double unread_seconds() const;
  // Calls back, unless the request has ended or the caller has abandoned it; the answer false cancels the request.
  void call_back(const std::function<bool()>& callback);
  // Hands over a segment, which is not empty.
  void put(std::vector<float> samples);
  // Hands over the complete speech, or gives back what result() has returned.
  void finish(Speech speech);
  void fail(const Failure& failure) noexcept;
  // Calls on_end, the first time.
  void announce_end();

 private:
  // Calls, unless the caller has abandoned the request; returns the answer.
  bool call(const std::function<bool()>& callback);
  void throw_failure() const;

  const Process process_;
  Callbacks callbacks_;
  double sampling_rate_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::shared_ptr<const std::function<void()>> wake_;
  std::deque<std::vector<float>> segments_;  // not taken yet
  std::size_t unread_ = 0;                   // samples of these
  std::optional<Speech> speech_;
  std::optional<Failure> failure_;
  bool is_complete_ = false, is_awaited_ = false, is_abandoned_ = false, is_announced_ = false;
  std::thread::id calling_;  // the thread that is in a callback; none: not a thread
};

}  // namespace tacoglow::scheduling
