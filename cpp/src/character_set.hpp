// Sets of code points.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

namespace tacoglow {

class CharacterSet {
 public:
  CharacterSet() = default;
  explicit CharacterSet(std::vector<char32_t> bounds) : bounds_(std::move(bounds)) {}

  bool contains(char32_t character) const {
    const auto next = std::upper_bound(bounds_.begin(), bounds_.end(), character);
    const auto before = next - bounds_.begin();  // bounds that are not above the character
    return before % 2 == 1 || (before > 0 && *(next - 1) == character);
  }

 private:
  std::vector<char32_t> bounds_;  // first, last, first, last, ... in ascending order
};

}  // namespace tacoglow
