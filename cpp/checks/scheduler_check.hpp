// What the checks of a scheduler through tacoglow.h share.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "tacoglow.h"

namespace tacoglow::checks {

inline void require(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what + "; last error: " + tacoglow_last_error());
}

struct Voice {
  tacoglow_voice* voice = nullptr;
  const tacoglow_facts* facts = nullptr;

  Voice(const char* bundle, const char* backend) {
    tacoglow_open_options options;
    tacoglow_open_options_init(&options);
    options.backend = backend;
    options.threads = 1;
    require(tacoglow_voice_open(bundle, &options, &voice) == TACOGLOW_OK, "open the voice");
    facts = tacoglow_voice_facts(voice);
  }
  ~Voice() { tacoglow_voice_close(voice); }
  Voice(const Voice&) = delete;
  Voice& operator=(const Voice&) = delete;
};

// Throws unless equal requests of one client end in the order in which they came. n_in_flight are submitted at once,
// and the others one by one, at each end.
void check_order(const char* bundle, const char* backend, std::size_t n_requests, std::size_t n_in_flight);

// Prints what a forked process is told, a line for each call.
void print_fork(const char* bundle, const char* backend);

// Prints the status of opening a scheduler where the system refuses threads, and its message; ends the process.
void print_without_threads(const char* bundle, const char* backend);

// Prints the status of submitting a request, and the message of a failure.
void print_submission(const char* bundle, const char* backend, const tacoglow_request& request);

}  // namespace tacoglow::checks
