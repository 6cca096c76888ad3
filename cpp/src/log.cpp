#include "log.hpp"

#include <mutex>
#include <shared_mutex>

namespace tacoglow {
namespace {

std::shared_mutex mutex;  // of both below, so that a callback that is replaced no longer runs
tacoglow_log_callback callback = nullptr;
void* callback_user = nullptr;

}  // namespace

void log(tacoglow_log_level level, const char* message) noexcept {
  const std::shared_lock lock(mutex);
  if (callback != nullptr) callback(level, message, callback_user);
}

}  // namespace tacoglow

void tacoglow_log_set(tacoglow_log_callback callback, void* user) {
  const std::unique_lock lock(tacoglow::mutex);
  tacoglow::callback = callback;
  tacoglow::callback_user = user;
}
