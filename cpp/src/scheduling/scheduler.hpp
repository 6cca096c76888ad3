// Continuous batching: many requests at once with one voice, each speaking what it would speak alone.
#pragma once

#include <memory>
#include <string>

#include "backlog.hpp"
#include "handle.hpp"
#include "loop.hpp"

namespace tacoglow::scheduling {

// The profile of this name; nullptr: the default. Throws Error (request).
Profile find_profile(const char* name);

struct Limits {
  Profile profile;
  std::int64_t max_rows;     // rows that decode together; 0: the profile's, at most the bundle's batch limit
  std::int64_t lanes;        // vocoder windows at once on a CPU; 0: as many as the backend recommends
  std::int64_t max_backlog;  // tokens that may wait to be spoken; 0: the default
};

class Scheduler {
 public:
  // Throws Error (request, backend).
  Scheduler(std::shared_ptr<const Voice> voice, const Limits& limits);
  // Cancels all requests that have not ended, and waits for their ends; in a callback, it does not wait.
  ~Scheduler() { loop_->close(); }
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  const std::shared_ptr<const Voice>& voice() const { return voice_; }

  // Accepts a request; may be called from any thread, and does not wait for its speech. client: whose request it is;
  // clients share the voice in equal parts. Throws Error (request) for too much silence and in a forked process, Error
  // (overloaded) if too much work waits, and Error (cancelled) in a callback while the destructor waits.
  void submit(Request request, bool is_stream, const std::string& client, std::shared_ptr<Handle> handle);

 private:
  std::shared_ptr<const Voice> voice_;
  std::shared_ptr<Backlog> backlog_;
  std::shared_ptr<Loop> loop_;
};

}  // namespace tacoglow::scheduling
