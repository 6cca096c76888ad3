#include "handle.hpp"

#include <utility>

namespace tacoglow::scheduling {

Handle::Handle(Callbacks callbacks, std::int64_t sampling_rate)
    : callbacks_(std::move(callbacks)), sampling_rate_(static_cast<double>(sampling_rate)) {}

bool Handle::next(std::vector<float>& samples) {
  process_.require_here();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !segments_.empty() || is_complete_ || failure_; });
  throw_failure();
  if (segments_.empty()) return false;
  samples = std::move(segments_.front());
  segments_.pop_front();
  unread_ -= samples.size();
  return true;
}

Speech Handle::result() {
  process_.require_here();
  std::unique_lock lock(mutex_);
  is_awaited_ = true;
  changed_.wait(lock, [this] { return is_complete_ || failure_; });
  throw_failure();
  if (!speech_) throw request_error("result: the speech has been taken before");
  Speech speech = std::move(*speech_);
  speech_.reset();
  return speech;
}

void Handle::cancel() noexcept {
  if (!process_.is_here()) return;
  fail(make_failure(TACOGLOW_CANCELLED, "the request was cancelled"));
  std::shared_ptr<const std::function<void()>> wake;
  {
    const std::lock_guard lock(mutex_);
    wake = wake_;
  }
  if (wake) (*wake)();
}

void Handle::abandon() noexcept {
  if (!process_.is_here()) return;
  cancel();
  std::unique_lock lock(mutex_);
  is_abandoned_ = true;
  changed_.wait(lock, [this] { return calling_ == std::thread::id() || calling_ == std::this_thread::get_id(); });
}

void Handle::set_wake(std::function<void()> wake) {
  auto shared = std::make_shared<const std::function<void()>>(std::move(wake));
  const std::lock_guard lock(mutex_);
  wake_ = std::move(shared);
}

bool Handle::has_ended() const {
  const std::lock_guard lock(mutex_);
  return is_complete_ || failure_;
}

double Handle::unread_seconds() const {
  const std::lock_guard lock(mutex_);
  return is_awaited_ ? 0.0 : static_cast<double>(unread_) / sampling_rate_;
}

void Handle::call_back(const std::function<bool()>& callback) {
  if (!has_ended() && !call(callback)) fail(make_failure(TACOGLOW_CANCELLED, "the callback asked to stop"));
}

void Handle::put(std::vector<float> samples) {
  if (callbacks_.on_segment) return call_back([&] { return callbacks_.on_segment(samples); });
  const std::lock_guard lock(mutex_);
  if (failure_) return;
  unread_ += samples.size();
  segments_.push_back(std::move(samples));
  changed_.notify_all();
}

void Handle::finish(Speech speech) {
  const std::lock_guard lock(mutex_);
  if (failure_) return;
  speech_ = std::move(speech);
  is_complete_ = true;
  changed_.notify_all();
}

void Handle::fail(const Failure& failure) noexcept {
  const std::lock_guard lock(mutex_);
  if (is_complete_ || failure_) return;
  failure_ = make_failure(failure.status, failure.message.c_str());
  segments_.clear();
  unread_ = 0;
  changed_.notify_all();
}

void Handle::announce_end() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_announced_, true) || !callbacks_.on_end) return;
  }
  call([this] {
    callbacks_.on_end();
    return true;
  });
}

bool Handle::call(const std::function<bool()>& callback) {
  {
    const std::lock_guard lock(mutex_);
    if (is_abandoned_) return true;
    calling_ = std::this_thread::get_id();
  }
  const bool answer = callback();
  const std::lock_guard lock(mutex_);
  calling_ = std::thread::id();
  changed_.notify_all();
  return answer;
}

void Handle::throw_failure() const {
  if (failure_) throw Error(failure_->status, failure_->message);
}

}  // namespace tacoglow::scheduling
