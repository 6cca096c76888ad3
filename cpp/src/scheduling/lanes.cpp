#include "lanes.hpp"

#include <algorithm>
#include <utility>

#if defined(__linux__)
#include <unistd.h>
#endif

namespace tacoglow::scheduling {
namespace {

void lower_priority() {
#if defined(__linux__)
  constexpr int niceness = 5;        // of all lanes but the first: about a third of its share of a core
  if (nice(niceness) == -1) return;  // on Linux, of this thread alone
#endif
}

template <typename Jobs>
void list_deadlines(const Jobs& jobs, std::vector<double>& deadlines) {
  deadlines.clear();
  for (const auto& job : jobs) deadlines.push_back(job->due + job->debt);
}

template <typename Jobs, typename Job>
void remove(Jobs& jobs, const Job& job) {
  jobs.erase(std::find(jobs.begin(), jobs.end(), job));
}

}  // namespace

Lanes::Lanes(Backend& backend, std::size_t count, std::function<void(Deliveries)> on_end)
    : count_(count), on_end_(std::move(on_end)) {
  running_.reserve(count + 1);
  running_deadlines_.reserve(count + 1);
  for (std::size_t i = 0; count > 0 && i <= count; ++i) backends_.push_back(backend.create_instance());
  try {
    for (std::size_t i = 0; i < backends_.size(); ++i) threads_.emplace_back([this, i] { run(*backends_[i], i == 0); });
  } catch (...) {  // the system has no more threads
    close();
    throw;
  }
}

void Lanes::submit(Job job, double debt) {
  auto queued = std::make_shared<Queued>(std::move(job), debt);
  const std::lock_guard lock(mutex_);
  deadlines_.reserve(jobs_.size() + 1);
  jobs_.push_back(std::move(queued));
  changed_.notify_all();
}

void Lanes::owe(const Shares& shares) {
  const std::lock_guard lock(mutex_);
  for (const auto* jobs : {&jobs_, &running_})
    for (const SharedJob& job : *jobs) job->debt = shares.debt(job->client);
}

bool Lanes::has_room(double deadline) {
  const std::lock_guard lock(mutex_);
  list_deadlines(jobs_, deadlines_);
  return is_wanted_soon(deadline, deadlines_, count_);
}

bool Lanes::run_next(BackendInstance& backend) {
  const SharedJob job = count_ > 0 ? nullptr : take(false);
  if (!job) return false;
  work(*job, backend);
  on_end_(std::move(job->delivery));
  return true;
}

void Lanes::close() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    jobs_.clear();
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Lanes::run(BackendInstance& backend, bool is_express) {
  if (!is_express) lower_priority();
  while (const SharedJob job = take(is_express)) {
    work(*job, backend);
    {
      const std::lock_guard lock(mutex_);
      remove(running_, job);
      changed_.notify_all();
    }
    on_end_(std::move(job->delivery));
  }
}

// Returns the next job of a lane; nullptr once closed, and, without lanes, if there is none.
Lanes::SharedJob Lanes::take(bool is_express) {
  std::unique_lock lock(mutex_);
  while (!is_closed_) {
    list_deadlines(jobs_, deadlines_);
    list_deadlines(running_, running_deadlines_);
    if (const auto i = next_job(deadlines_, running_deadlines_, count_, is_express)) {
      const SharedJob job = jobs_[*i];
      remove(jobs_, job);
      if (count_ > 0) running_.push_back(job);
      return job;
    }
    if (count_ == 0) return nullptr;
    changed_.wait(lock);
  }
  return nullptr;
}

// Does a job, unless its request has ended.
void Lanes::work(Queued& job, BackendInstance& backend) noexcept {
  Delivery& delivery = job.delivery.front();
  delivery.handle = job.handle;
  const auto tell = [&](HandOver hand_over) {
    if (count_ == 0) return hand_over();  // this is the scheduler's thread
    on_end_({{std::move(hand_over), job.handle}});
  };
  try {
    if (!job.handle->has_ended()) delivery.hand_over = job.work(backend, tell);
  } catch (...) {
    job.handle->fail(current_failure());
  }
}

}  // namespace tacoglow::scheduling
