// Restricts the attention to a window that only moves forward, as Python's
// runtime/decoder.py does.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor.hpp"

namespace tacoglow {

// The window of each row spans from a few tokens before the furthest one that
// its attention has rested on to a number of tokens after it. Tokens outside of
// it are masked as padding is, so the graph is the same with and without a
// window.
class AttentionWindow {
 public:
  // mask: bool [B, T], true at padding; it must outlive this object, which also
  // sets it to true outside of the windows. ahead: tokens of each row's window;
  // 0: no window. reached: the furthest token of each row so far.
  AttentionWindow(Tensor& mask, std::vector<std::int64_t> ahead, std::vector<std::int64_t> reached);

  // Moves each window to where a step's attention [B, T] rests, if that is
  // further on.
  void move(const float* attention_weights);

  std::int64_t reached(std::size_t row) const { return reached_[row]; }

 private:
  void apply(std::size_t row);

  unsigned char* mask_;
  std::int64_t tokens_;
  std::vector<unsigned char> padding_;  // [B, T]
  std::vector<std::int64_t> ahead_, reached_;
};

}  // namespace tacoglow
