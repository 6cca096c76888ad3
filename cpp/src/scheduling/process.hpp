// The process that a scheduler's threads are in: a fork copies the scheduler without them.
#pragma once

#include <string>

#include "error.hpp"

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace tacoglow::scheduling {

class Process {
 public:
  bool is_here() const { return id_ == current(); }

  // Throws Error (request) in a forked process.
  void require_here() const {
    if (!is_here())
      throw request_error("scheduler: its threads are in process " + std::to_string(id_) +
                          ", from which this one was forked; open the voice and a scheduler here");
  }

 private:
  static long current() {
#if defined(_WIN32)
    return 0;  // there is no fork
#else
    return getpid();
#endif
  }

  long id_ = current();
};

}  // namespace tacoglow::scheduling
