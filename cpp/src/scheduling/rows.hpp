// Rows of a running decoder: each is decoded some steps at a time, beside whichever others are chosen. The same
// algorithm as in Python's runtime/scheduling/rows.py.
#pragma once

#include <memory>
#include <vector>

#include "decoder.hpp"
#include "host_steps.hpp"
#include "voice.hpp"

namespace tacoglow::scheduling {

// One item that is being decoded.
struct Row {
  DecodedItem item;
  std::shared_ptr<const Tensors> encoded;  // [1, T, ...], T its token bucket

  // Of a row that shares steps, while it is not in the running batch:
  Tensors states;            // [1, ...]; empty: zeros
  std::int64_t reached = 0;  // furthest token that the attention has rested on

  // Of a row with a batch of its own:
  std::unique_ptr<BackendInstance> backend;
  std::unique_ptr<Decoding> decoding;

  Row(DecodedItem started, std::shared_ptr<const Tensors> encoder_outputs)
      : item(std::move(started)), encoded(std::move(encoder_outputs)) {}
  std::int64_t bucket() const { return encoded->at("memory").shape()[1]; }
  std::int64_t step() const { return static_cast<std::int64_t>(item.decoded.gate_logits.size()); }
};

using Rows = std::vector<std::shared_ptr<Row>>;

class RowDecoder {
 public:
  virtual ~RowDecoder() = default;
  // Begins a row, with nothing decoded yet.
  virtual std::shared_ptr<Row> open(DecodedItem item, std::shared_ptr<const Tensors> encoded) = 0;
  // Decodes up to n_steps more steps of rows that have not ended, fewer if one of them ends.
  virtual void advance(const Rows& rows, std::int64_t n_steps) = 0;
};

// Returns rows that share decoder steps, if the host keeps the states and rounds an item alike alone and in any batch,
// which a few steps of made-up items show; otherwise rows with a batch each. backend: for the steps
// of shared rows; it must outlive the result, as the voice must.
std::unique_ptr<RowDecoder> open_row_decoder(const Voice& voice, BackendInstance& backend, std::size_t max_rows);

}  // namespace tacoglow::scheduling
