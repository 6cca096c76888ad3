// Rows of a running decoder: each is decoded some steps at a time, beside whichever others are chosen. The same
// algorithm as in Python's runtime/scheduling/rows.py.
#pragma once

#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "decoder.hpp"
#include "voice.hpp"

namespace tacoglow::scheduling {

// One item that is being decoded.
struct Row {
  DecodedItem item;
  std::shared_ptr<const Tensors> encoded;  // [1, T, ...], T its token bucket
  std::exception_ptr failure;              // of its steps; a row that has failed is not decoded any more

  // Of a row that shares steps on the host, while it is not in the running batch:
  Tensors states;            // [1, ...]; empty: zeros
  std::int64_t reached = 0;  // furthest token that the attention has rested on

  // Of a row that shares steps on a device:
  std::size_t number = 0;
  std::int64_t launched = 0;  // steps

  // Of a row with a batch of its own:
  std::unique_ptr<BackendInstance> backend;  // nullptr: one that others use too
  std::unique_ptr<Decoding> decoding;

  Row(DecodedItem started, std::shared_ptr<const Tensors> encoder_outputs)
      : item(std::move(started)), encoded(std::move(encoder_outputs)) {}
  std::int64_t bucket() const { return encoded->at("memory").shape()[1]; }
  std::int64_t step() const { return static_cast<std::int64_t>(item.decoded.gate_logits.size()); }
  bool is_running() const { return !failure && !item.decoded.finished; }
  // Returns how many frames have been decoded since the last call.
  std::int64_t take_frames() {
    return item.decoded.frames_decoded - std::exchange(taken_frames_, item.decoded.frames_decoded);
  }

 private:
  std::int64_t taken_frames_ = 0;
};

using Rows = std::vector<std::shared_ptr<Row>>;

class RowDecoder {
 public:
  virtual ~RowDecoder() = default;
  // Rows that decode together.
  virtual std::size_t max_rows() const = 0;
  // Rows that are opened between two chunks at most, because an encoder takes a while.
  virtual std::size_t openings() const { return 1; }
  // Token counts of the items of batches in which it can be seen that rows change each other; none if they cannot.
  virtual std::vector<std::vector<std::int64_t>> checked_batches() const = 0;
  // Begins a row, with nothing decoded yet.
  virtual std::shared_ptr<Row> open(DecodedItem item, std::shared_ptr<const Tensors> encoded) = 0;
  // Decodes about n_steps more steps of rows, fewer if one of them ends. On a device they may be there after the next
  // call only. What fails for some rows only is kept in them; what this throws concerns all.
  virtual void advance(const Rows& rows, std::int64_t n_steps) = 0;
};

// Returns the decoder in which rows share steps if they can: if an item is rounded alike alone and in any batch, which
// a few steps of made-up items show; otherwise rows have a batch each. backend: for the steps of shared rows; it must
// outlive the result, as the voice must.
std::unique_ptr<RowDecoder> open_row_decoder(const Voice& voice, BackendInstance& backend, const Profile& profile);

}  // namespace tacoglow::scheduling
