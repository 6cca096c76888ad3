// Threads that run the vocoder for a scheduler, the job with the earliest deadline first. A window takes a while and
// cannot be interrupted, so that one lane is reserved for jobs that are more urgent than any that runs; on Linux, the
// other lanes have a lower priority, so that it overtakes them.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "handle.hpp"
#include "policy.hpp"

namespace tacoglow::scheduling {

using HandOver = std::function<void()>;      // called in the scheduler's thread
using Tell = std::function<void(HandOver)>;  // has something handed over, unless the request has ended by then

// Work that any thread may do, for one request.
struct Job {
  double due;          // seconds, at which its result is needed
  std::string client;  // whose debt it is due later by
  std::function<HandOver(BackendInstance&, const Tell&)> work;
  std::shared_ptr<Handle> handle;  // what the work throws ends the request; of one that has ended, nothing is done
};

// What a job has made. What handing it over throws ends the request.
struct Delivery {
  HandOver hand_over;  // empty: the work has failed
  std::shared_ptr<Handle> handle;
};
using Deliveries = std::list<Delivery>;  // they go from list to list, which needs no memory

class Lanes {
 public:
  // Runs jobs in `count` threads and one for urgent jobs; with 0, in the thread that calls run_next. on_end receives
  // the delivery of each job, in the lane's thread. It must not throw.
  Lanes(Backend& backend, std::size_t count, std::function<void(Deliveries)> on_end);
  ~Lanes() { close(); }
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  // Takes a job, and its client's present debt.
  void submit(Job job, double debt);
  // Takes the clients' present debts, so that each one's jobs keep their order, whenever they became ready.
  void owe(const Shares& shares);
  // True if a job with this deadline should be made ready now.
  bool has_room(double deadline);
  // Runs the most urgent job in this thread, if there are no lanes; returns false if there is none.
  bool run_next(BackendInstance& backend);
  // Stops the threads after the jobs that run; further ones are dropped.
  void close();

 private:
  // A job, with the memory for its end: running out of it in a lane ends a request, not the process.
  struct Queued : Job {
    Queued(Job job, double owed) : Job(std::move(job)), debt(owed), delivery(1) {}
    double debt;  // seconds
    Deliveries delivery;
  };
  using SharedJob = std::shared_ptr<Queued>;

  void run(BackendInstance& backend, bool is_express);
  SharedJob take(bool is_express);
  void work(Queued& job, BackendInstance& backend) noexcept;

  std::size_t count_;
  std::function<void(Deliveries)> on_end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SharedJob> jobs_;  // in the order in which they came
  std::vector<SharedJob> running_;
  std::vector<double> deadlines_, running_deadlines_;  // of these; memory for has_room() and take()
  bool is_closed_ = false;
  std::vector<std::unique_ptr<BackendInstance>> backends_;  // of each thread
  std::vector<std::thread> threads_;
};

}  // namespace tacoglow::scheduling
