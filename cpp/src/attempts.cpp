#include "attempts.hpp"

#include <utility>

#include "faults.hpp"

namespace tacoglow {

bool Attempts::add(const Voice& voice, const std::vector<std::int32_t>& ids, DecodedItem item, std::uint64_t retries) {
  const std::int64_t own = severity(find_faults(voice, ids, item.decoded), item.n_tokens);
  if (!best_ || own < severity_) {
    best_ = std::move(item);
    severity_ = own;
  }
  return severity_ > 0 && count_++ < retries;
}

}  // namespace tacoglow
