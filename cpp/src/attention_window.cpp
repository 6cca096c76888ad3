#include "attention_window.hpp"

#include <algorithm>
#include <utility>

namespace tacoglow {
namespace {

constexpr std::int64_t behind = 2;  // tokens before the furthest one that a window still shows

}  // namespace

AttentionWindow::AttentionWindow(Tensor& mask, std::vector<std::int64_t> ahead, std::vector<std::int64_t> reached)
    : mask_(mask.as<unsigned char>()),
      tokens_(mask.shape()[1]),
      padding_(mask_, mask_ + mask.size_bytes()),
      ahead_(std::move(ahead)),
      reached_(std::move(reached)) {
  for (std::size_t row = 0; row < ahead_.size(); ++row) apply(row);
}

void AttentionWindow::move(const float* attention_weights) {
  for (std::size_t row = 0; row < ahead_.size(); ++row) {
    const float* weights = attention_weights + static_cast<std::int64_t>(row) * tokens_;
    const std::int64_t rest = std::max_element(weights, weights + tokens_) - weights;
    if (rest <= reached_[row]) continue;
    reached_[row] = rest;
    apply(row);
  }
}

void AttentionWindow::apply(std::size_t row) {
  if (ahead_[row] == 0) return;
  const std::int64_t start = static_cast<std::int64_t>(row) * tokens_;
  for (std::int64_t token = 0; token < tokens_; ++token) {
    const std::int64_t distance = token - reached_[row];
    const bool is_outside = distance > ahead_[row] || distance < -behind;
    mask_[start + token] = is_outside || padding_[static_cast<std::size_t>(start + token)] != 0;
  }
}

}  // namespace tacoglow
