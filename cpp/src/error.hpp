// The exceptions of this library. Every message is one line: name, expected, got, fix.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "tacoglow.h"

namespace tacoglow {

class Error : public std::runtime_error {
 public:
  Error(tacoglow_status status, const std::string& message) : std::runtime_error(message), status(status) {}

  const tacoglow_status status;
};

// Why something has failed, without the exception.
struct Failure {
  tacoglow_status status;
  std::string message;
};

// Returns a failure. Without memory for the message, it has one that is short enough to need none.
inline Failure make_failure(tacoglow_status status, const char* message) noexcept {
  try {
    return {status, message};
  } catch (const std::bad_alloc&) {
    return {status, "out of memory"};
  }
}

// Returns the failure of the exception that is being handled.
inline Failure current_failure() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return make_failure(error.status, error.what());
  } catch (const std::bad_alloc&) {
    return make_failure(TACOGLOW_OUT_OF_MEMORY, "out of memory");
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again)
      return make_failure(TACOGLOW_OUT_OF_MEMORY,
                          "the system gives this process no more threads: raise its limit (ulimit -u, or pids.max of "
                          "its container), or open fewer voices and schedulers");
    return make_failure(TACOGLOW_INTERNAL, error.what());
  } catch (const std::exception& error) {
    return make_failure(TACOGLOW_INTERNAL, error.what());
  } catch (...) {
    return make_failure(TACOGLOW_INTERNAL, "an exception of unknown type");
  }
}

inline Error bundle_error(const std::string& message) { return {TACOGLOW_BUNDLE, message}; }
inline Error backend_error(const std::string& message) { return {TACOGLOW_BACKEND, message}; }
inline Error request_error(const std::string& message) { return {TACOGLOW_REQUEST, message}; }

}  // namespace tacoglow
