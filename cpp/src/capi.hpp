// What the files that implement tacoglow.h share: conversion of structures, and exceptions turned into statuses.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "error.hpp"
#include "request.hpp"
#include "struct_size.hpp"
#include "tacoglow.h"
#include "voice.hpp"

struct tacoglow_voice {
  std::shared_ptr<const tacoglow::Voice> voice;
};

namespace tacoglow {

// Keeps the message for tacoglow_last_error, and returns the status.
tacoglow_status fail(const Failure& failure) noexcept;

// Runs `work` and returns the status of what it throws.
template <typename Work>
tacoglow_status to_status(const Work& work) noexcept {
  try {
    work();
    return TACOGLOW_OK;
  } catch (...) {
    return fail(current_failure());
  }
}

inline void require(const void* pointer, const char* name) {
  if (pointer == nullptr) throw request_error(std::string(name) + ": is NULL");
}

// Copies the caller's structure, which may come from an older header: fields that the caller's version lacks keep their
// defaults.
template <typename Struct>
Struct with_defaults(const Struct* given, void (*init)(Struct*, size_t)) {
  Struct full;
  init(&full, sizeof full);
  if (given == nullptr) return full;
  check_struct_size<Struct>(given->struct_size);
  std::memcpy(&full, given, given->struct_size);
  return full;
}

// Sets the caller's structure, which may be shorter than this library's, to its defaults.
template <typename Struct>
void set_defaults(Struct* target, size_t size, Struct defaults) {
  if (target == nullptr) return;
  defaults.struct_size = std::min(size, sizeof defaults);
  std::memcpy(target, &defaults, defaults.struct_size);
}

// Checks a caller's request and fills in the defaults. Throws Error (request).
Request resolve(const Voice& voice, const tacoglow_request* request, bool is_stream);

}  // namespace tacoglow
