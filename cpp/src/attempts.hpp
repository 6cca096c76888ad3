// The tries at one utterance: one with a fault is decoded again with new noise, and the best one is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "decoder.hpp"
#include "voice.hpp"

namespace tacoglow {

class Attempts {
 public:
  // Judges a try at these ids, which has ended. Returns true if another one is to follow, with
  // noise.for_attempt(count()); retries: how many may follow the first one.
  bool add(const Voice& voice, const std::vector<std::int32_t>& ids, DecodedItem item, std::uint64_t retries);

  std::uint64_t count() const { return count_; }
  // Of tries with equally many faults, the first; there must be one.
  const DecodedItem& best() const { return *best_; }

 private:
  std::optional<DecodedItem> best_;
  std::int64_t severity_ = 0;  // of its faults
  std::uint64_t count_ = 0;
};

}  // namespace tacoglow
