// The exceptions of this library. Every message is one line: name, expected, got, fix.
#pragma once

#include <stdexcept>
#include <string>

#include "tacoglow.h"

namespace tacoglow {

class Error : public std::runtime_error {
 public:
  Error(tacoglow_status status, const std::string& message) : std::runtime_error(message), status(status) {}

  const tacoglow_status status;
};

inline Error bundle_error(const std::string& message) { return {TACOGLOW_BUNDLE, message}; }
inline Error backend_error(const std::string& message) { return {TACOGLOW_BACKEND, message}; }
inline Error request_error(const std::string& message) { return {TACOGLOW_REQUEST, message}; }

}  // namespace tacoglow
