#include "backlog.hpp"

#include <utility>

#include "error.hpp"
#include "policy.hpp"

namespace tacoglow::scheduling {

void Backlog::add(const std::string& client, std::size_t tokens) {
  const std::lock_guard lock(mutex_);
  const auto own = held_.find(client);
  const std::size_t held = own != held_.end() ? own->second : 0;
  if (!may_accept(static_cast<double>(tokens), static_cast<double>(held), static_cast<double>(total_),
                  static_cast<double>(limit_)))
    throw Error(TACOGLOW_OVERLOADED, std::to_string(total_) + " tokens wait to be spoken" +
                                         (held > 0 ? ", " + std::to_string(held) + " of them this client's" : "") +
                                         "; try again later");
  held_[client] += tokens;
  total_ += tokens;
}

void Backlog::remove(const std::string& client, std::size_t tokens) {
  const std::lock_guard lock(mutex_);
  total_ -= tokens;
  const auto own = held_.find(client);
  if ((own->second -= tokens) == 0) held_.erase(own);
}

Ticket::Ticket(std::shared_ptr<Backlog> backlog, std::string client, std::size_t tokens)
    : backlog_(std::move(backlog)), client_(std::move(client)), tokens_(tokens) {
  backlog_->add(client_, tokens_);
}

void Ticket::spoken(std::size_t tokens) {
  if (tokens == 0) return;
  backlog_->remove(client_, tokens);
  tokens_ -= tokens;
}

}  // namespace tacoglow::scheduling
