// The sizes of the structures that a caller fills: each version of the header may have appended fields.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <type_traits>

#include "error.hpp"
#include "tacoglow.h"

namespace tacoglow {

struct Field {
  std::size_t start, size;  // bytes
};

#define TACOGLOW_FIELD(name) \
  Field { offsetof(Given, name), sizeof(Given::name) }

// The fields of a structure, in order.
template <typename Struct>
constexpr auto fields_of() {
  using Given = Struct;
  if constexpr (std::is_same_v<Given, tacoglow_open_options>)
    return std::array{TACOGLOW_FIELD(struct_size), TACOGLOW_FIELD(backend), TACOGLOW_FIELD(plans),
                      TACOGLOW_FIELD(compute),     TACOGLOW_FIELD(threads), TACOGLOW_FIELD(device),
                      TACOGLOW_FIELD(loader),      TACOGLOW_FIELD(files),   TACOGLOW_FIELD(n_files)};
  else if constexpr (std::is_same_v<Given, tacoglow_loader>)
    return std::array{TACOGLOW_FIELD(struct_size), TACOGLOW_FIELD(open), TACOGLOW_FIELD(read), TACOGLOW_FIELD(close),
                      TACOGLOW_FIELD(user)};
  else if constexpr (std::is_same_v<Given, tacoglow_scheduler_options>)
    return std::array{TACOGLOW_FIELD(struct_size), TACOGLOW_FIELD(max_rows), TACOGLOW_FIELD(lanes),
                      TACOGLOW_FIELD(max_backlog), TACOGLOW_FIELD(profile)};
  else if constexpr (std::is_same_v<Given, tacoglow_submission>)
    return std::array{TACOGLOW_FIELD(struct_size), TACOGLOW_FIELD(client), TACOGLOW_FIELD(stream),
                      TACOGLOW_FIELD(on_segment),  TACOGLOW_FIELD(on_end), TACOGLOW_FIELD(user)};
  else
    return std::array{TACOGLOW_FIELD(struct_size),
                      TACOGLOW_FIELD(text),
                      TACOGLOW_FIELD(lexicon),
                      TACOGLOW_FIELD(ssml),
                      TACOGLOW_FIELD(ids),
                      TACOGLOW_FIELD(n_ids),
                      TACOGLOW_FIELD(seed),
                      TACOGLOW_FIELD(utterance),
                      TACOGLOW_FIELD(rate),
                      TACOGLOW_FIELD(volume),
                      TACOGLOW_FIELD(trim_silence),
                      TACOGLOW_FIELD(sentence_silence),
                      TACOGLOW_FIELD(sigma),
                      TACOGLOW_FIELD(denoise),
                      TACOGLOW_FIELD(gate_threshold),
                      TACOGLOW_FIELD(max_frames),
                      TACOGLOW_FIELD(attention_stop),
                      TACOGLOW_FIELD(attention_window),
                      TACOGLOW_FIELD(retries),
                      TACOGLOW_FIELD(first_segment_frames),
                      TACOGLOW_FIELD(segment_frames),
                      TACOGLOW_FIELD(context_frames),
                      TACOGLOW_FIELD(progress),
                      TACOGLOW_FIELD(progress_user)};
}

#undef TACOGLOW_FIELD

// True if the fields fill the structure, so that none is missing in the list. What is between two fields aligns the
// second one, and is therefore smaller than it.
template <typename Struct>
constexpr bool are_complete() {
  std::size_t end = 0;
  for (const Field field : fields_of<Struct>()) {
    if (field.start < end || field.start - end >= field.size) return false;
    end = field.start + field.size;
  }
  return sizeof(Struct) - end < alignof(Struct);
}

// Throws Error (request) for a size that no version of the structure has: one that ends inside of a field, or that is
// larger than this library's.
template <typename Struct>
void check_struct_size(std::size_t size) {
  static_assert(are_complete<Struct>(), "fields_of: add the new field");
  bool is_whole = size >= sizeof(std::size_t) && size <= sizeof(Struct);
  for (const Field field : fields_of<Struct>())
    is_whole = is_whole && (size <= field.start || size >= field.start + field.size);
  if (!is_whole)
    throw request_error("struct_size: expected at most " + std::to_string(sizeof(Struct)) +
                        " bytes, up to the end of a field, got " + std::to_string(size) +
                        "; call the structure's _init macro first");
}

}  // namespace tacoglow
