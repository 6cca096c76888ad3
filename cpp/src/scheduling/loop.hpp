// The thread that owns a voice: it decodes a few steps at a time, and hands the vocoder's windows to the lanes. The
// same as in Python's runtime/scheduling/loop.py.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lanes.hpp"
#include "policy.hpp"
#include "process.hpp"
#include "rows.hpp"
#include "task.hpp"

namespace tacoglow::scheduling {

class Loop : public std::enable_shared_from_this<Loop> {
 public:
  // profile: with a number of rows. lanes: vocoder windows at once. Throws Error (backend).
  Loop(std::shared_ptr<const Voice> voice, const Profile& profile, std::size_t lanes);

  // Starts the thread, which keeps this object alive until it ends.
  void start();
  // Throws Error (request) in a forked process.
  void require_here() const { process_.require_here(); }
  // Begins a request, which must not be shared by then. Throws Error (cancelled) once it is being closed.
  void add(std::shared_ptr<Task> task);
  // Looks at once at who has been cancelled.
  void wake();
  // Cancels all requests, and returns once their ends are announced; in a callback, before that. Does nothing in a
  // forked process, where the locks may be held for ever.
  void close();

 private:
  using Tasks = std::list<std::shared_ptr<Task>>;  // from the one list to the other they go without memory

  struct Ranked {
    double deadline;
    std::shared_ptr<Task> task;
  };
  // A piece that decodes next.
  struct Work {
    std::shared_ptr<Task> task;
    std::shared_ptr<SpokenPiece> piece;
  };

  void run();
  void pass();
  bool receive(Deliveries& deliveries);
  static void hand_over(const Delivery& delivery) noexcept;
  void drop_ended();
  std::vector<Ranked> list_going();
  std::vector<Ranked> rank(std::vector<Ranked> going) const;
  std::vector<Work> choose_work(const std::vector<Ranked>& ranked);
  void decode(const std::vector<Work>& chosen);
  bool dispatch(const std::vector<Ranked>& ranked);
  void fail_all(const Failure& failure);
  void post(Deliveries delivery);

  const Process process_;
  std::shared_ptr<const Voice> voice_;
  std::unique_ptr<BackendInstance> backend_;
  std::unique_ptr<RowDecoder> decoder_;
  Machine machine_;
  Shares shares_;
  Tasks tasks_;
  bool is_idle_ = true;
  Lanes lanes_;

  std::mutex mutex_;  // of the four below
  std::condition_variable changed_;
  Tasks new_;
  Deliveries deliveries_;
  bool is_closing_ = false, is_woken_ = false;
  std::thread thread_;
};

}  // namespace tacoglow::scheduling
