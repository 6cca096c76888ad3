// The work that has been accepted and not been spoken yet, in tokens, because one text can be ten thousand times as
// long as another.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace tacoglow::scheduling {

class Backlog {
 public:
  // limit: tokens that may wait to be spoken.
  explicit Backlog(std::size_t limit) : limit_(limit) {}

  // Throws Error (overloaded) if a client may not add so many tokens.
  void add(const std::string& client, std::size_t tokens);
  void remove(const std::string& client, std::size_t tokens);

 private:
  const std::size_t limit_;
  std::mutex mutex_;  // of the two below
  std::map<std::string, std::size_t> held_;
  std::size_t total_ = 0;
};

// A request's part of the backlog, until it is destroyed.
class Ticket {
 public:
  Ticket(std::shared_ptr<Backlog> backlog, std::string client, std::size_t tokens);
  ~Ticket() { spoken(tokens_); }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;

  const std::string& client() const { return client_; }
  // Returns the tokens that are not spoken yet.
  std::size_t tokens() const { return tokens_; }
  void spoken(std::size_t tokens);

 private:
  std::shared_ptr<Backlog> backlog_;
  std::string client_;
  std::size_t tokens_;
};

}  // namespace tacoglow::scheduling
