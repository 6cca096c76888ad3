#include "loop.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "error.hpp"

namespace tacoglow::scheduling {
namespace {

constexpr std::int64_t chunk_steps = 8;  // decoder steps on a CPU between two looks at who joins and leaves
constexpr auto poll_interval = std::chrono::milliseconds(50);  // between looks at deadlines and at unread speech

Failure closed() { return make_failure(TACOGLOW_CANCELLED, "the scheduler was closed"); }

}  // namespace

Loop::Loop(std::shared_ptr<const Voice> voice, const Profile& profile, std::size_t lanes)
    : voice_(std::move(voice)),
      backend_(voice_->backend->create_instance()),
      decoder_(open_row_decoder(*voice_, *backend_, profile)),
      machine_{*backend_, *decoder_},
      lanes_(*voice_->backend, lanes, [this](Deliveries delivery) { post(std::move(delivery)); }) {
  backend_->prepare();
}

void Loop::start() {
  thread_ = std::thread([self = shared_from_this()] { self->run(); });
}

void Loop::add(std::shared_ptr<Task> task) {
  const std::lock_guard lock(mutex_);
  if (is_closing_) throw Error(TACOGLOW_CANCELLED, "the scheduler is being closed");
  new_.push_back(std::move(task));
  is_woken_ = true;
  changed_.notify_all();
}

void Loop::wake() {
  const std::lock_guard lock(mutex_);
  is_woken_ = true;
  changed_.notify_all();
}

void Loop::post(Deliveries delivery) {
  const std::lock_guard lock(mutex_);
  deliveries_.splice(deliveries_.end(), delivery);
  is_woken_ = true;
  changed_.notify_all();
}

void Loop::close() {
  if (!process_.is_here()) return;
  {
    const std::lock_guard lock(mutex_);
    is_closing_ = is_woken_ = true;
    changed_.notify_all();
  }
  if (thread_.get_id() != std::this_thread::get_id()) return thread_.join();
  fail_all(closed());  // now, because other requests' callbacks are due in this pass
  thread_.detach();
}

// Running out of memory ends requests, not this thread: outside of `try`, nothing here needs any.
void Loop::run() {
  for (Deliveries deliveries; receive(deliveries); deliveries.clear()) {
    for (const Delivery& delivery : deliveries) hand_over(delivery);
    pass();
  }
  fail_all(closed());
  drop_ended();
  lanes_.close();
}

// Takes new requests and what the lanes deliver, waiting while there is nothing to do; returns false once closed.
bool Loop::receive(Deliveries& deliveries) {
  std::unique_lock lock(mutex_);
  const auto is_woken = [this] { return is_woken_; };
  if (is_idle_ && tasks_.empty()) changed_.wait(lock, is_woken);
  if (is_idle_) changed_.wait_for(lock, poll_interval, is_woken);
  is_woken_ = false;
  tasks_.splice(tasks_.end(), new_);
  deliveries.swap(deliveries_);
  return !is_closing_;
}

void Loop::hand_over(const Delivery& delivery) noexcept {
  try {
    if (delivery.hand_over && !delivery.handle->has_ended()) delivery.hand_over();
  } catch (...) {
    delivery.handle->fail(current_failure());
  }
}

// Does what there is to do.
void Loop::pass() {
  std::vector<Work> chosen;
  try {
    drop_ended();
    const std::vector<Ranked> going = list_going();
    chosen = choose_work(rank(going));
    decode(chosen);
    const bool dispatched = dispatch(rank(going)), ran = lanes_.run_next(*backend_);
    is_idle_ = chosen.empty() && !dispatched && !ran;
  } catch (...) {  // a failed batch, or no memory to choose one: then the newest request makes room for the others
    const Failure failure = current_failure();
    for (const Work& work : chosen) work.task->handle().fail(failure);
    if (chosen.empty() && !tasks_.empty()) tasks_.back()->handle().fail(failure);
    is_idle_ = false;
  }
}

// Forgets requests that have ended, and says so to their callers, who may close the scheduler meanwhile: the others are
// still where fail_all finds them.
void Loop::drop_ended() {
  for (auto each = tasks_.begin(); each != tasks_.end();) {
    Task& task = **each;
    if (!task.handle().has_ended()) {
      ++each;
      continue;
    }
    task.leave();
    task.handle().announce_end();
    each = tasks_.erase(each);
  }
}

// Returns the requests that are not resting.
std::vector<Loop::Ranked> Loop::list_going() {
  std::vector<Ranked> going;
  std::set<std::string> clients;
  for (const auto& task : tasks_) {
    if (task->is_resting()) continue;
    going.push_back({task->deadline(), task});
    clients.insert(task->client());
  }
  shares_.want(clients);
  return going;
}

// Returns the same by their clients' present debts, the most urgent first.
std::vector<Loop::Ranked> Loop::rank(std::vector<Ranked> going) const {
  for (Ranked& each : going) each.deadline += shares_.debt(each.task->client());
  std::stable_sort(going.begin(), going.end(),
                   [](const Ranked& a, const Ranked& b) { return a.deadline < b.deadline; });
  return going;
}

// Returns the pieces that decode next, all of them open.
std::vector<Loop::Work> Loop::choose_work(const std::vector<Ranked>& ranked) {
  std::vector<Candidate> candidates;
  std::vector<Work> offered, chosen;
  for (const auto& [deadline, task] : ranked)
    for (auto& piece : task->hungry(machine_)) {
      candidates.push_back({deadline, piece->stage});
      offered.push_back({task, std::move(piece)});
    }
  for (const std::size_t i : choose(candidates, decoder_->max_rows(), decoder_->openings())) {
    const auto& [task, piece] = offered[i];
    try {
      if (piece->stage == Stage::waiting) task->open_next(machine_);
      chosen.push_back(offered[i]);
    } catch (...) {
      task->handle().fail(current_failure());
    }
  }
  return chosen;
}

void Loop::decode(const std::vector<Work>& chosen) {
  if (chosen.empty()) return;
  Rows rows;
  for (const auto& [task, piece] : chosen) rows.push_back(piece->row);
  Stopwatch watch;
  decoder_->advance(rows, chunk_steps);
  const double seconds = watch.lap() / static_cast<double>(chosen.size());
  const Manifest& manifest = voice_->manifest;
  std::map<std::string, double> given;  // seconds, by client
  for (const auto& [task, piece] : chosen) {
    const auto samples = piece->row->take_frames() * manifest.hop_length;  // some perhaps read while the row rested
    given[task->client()] += static_cast<double>(samples) / static_cast<double>(manifest.sampling_rate);
  }
  shares_.give(given);
  for (const auto& [task, piece] : chosen) {
    try {
      if (piece->row->failure) std::rethrow_exception(piece->row->failure);
      task->advanced(*piece, seconds);
    } catch (...) {
      task->handle().fail(current_failure());
    }
  }
}

// Hands the lanes what they can do next; returns true if there was something.
bool Loop::dispatch(const std::vector<Ranked>& ranked) {
  bool dispatched = false;
  lanes_.owe(shares_);
  for (const auto& [deadline, task] : ranked) {
    if (!lanes_.has_room(deadline)) break;
    const double debt = shares_.debt(task->client());
    const auto submit = [&, task = task](Job job) {
      lanes_.submit(std::move(job), debt);
      dispatched = true;
      return lanes_.has_room(task->deadline() + debt);
    };
    try {
      task->submit_jobs(machine_, submit);
    } catch (...) {
      task->handle().fail(current_failure());
    }
  }
  return dispatched;
}

void Loop::fail_all(const Failure& failure) {
  for (const auto& task : tasks_) task->handle().fail(failure);
}

}  // namespace tacoglow::scheduling
