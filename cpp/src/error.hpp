// The exceptions of this library. Every message is one line: name, expected, got, fix.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

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

// Returns the failure of the exception that is being handled.
inline Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.status, error.what()};
  } catch (const std::bad_alloc&) {
    return {TACOGLOW_OUT_OF_MEMORY, "out of memory"};
  } catch (const std::exception& error) {
    return {TACOGLOW_INTERNAL, error.what()};
  } catch (...) {
    return {TACOGLOW_INTERNAL, "an exception of unknown type"};
  }
}

inline Error bundle_error(const std::string& message) { return {TACOGLOW_BUNDLE, message}; }
inline Error backend_error(const std::string& message) { return {TACOGLOW_BACKEND, message}; }
inline Error request_error(const std::string& message) { return {TACOGLOW_REQUEST, message}; }

}  // namespace tacoglow
