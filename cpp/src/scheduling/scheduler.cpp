#include "scheduler.hpp"

#include <algorithm>
#include <utility>

#include "error.hpp"
#include "pieces.hpp"

namespace tacoglow::scheduling {
namespace {

constexpr std::int64_t default_backlog = 420'000;  // tokens: as in Python
constexpr std::int64_t most_lanes = 256;           // each is a thread with a vocoder of its own

std::int64_t resolve(const char* name, std::int64_t given, std::int64_t otherwise) {
  if (given < 0)
    throw request_error(std::string(name) + ": expected 1 or more, or 0 for the default, got " + std::to_string(given));
  return given == 0 ? otherwise : given;
}

// As in Python: with `latency`, those who come join the others soon; `throughput` has more rows, and longer chunks.
constexpr Profile latency = {8, 16, 32}, throughput = {0, 64, 64};

}  // namespace

Profile find_profile(const char* name) {
  const std::string profile = name != nullptr ? name : "latency";
  if (profile == "latency") return latency;
  if (profile == "throughput") return throughput;
  throw request_error("profile: expected latency or throughput, got '" + profile + "'");
}

Scheduler::Scheduler(std::shared_ptr<const Voice> voice, const Limits& limits) : voice_(std::move(voice)) {
  const std::int64_t batch = voice_->manifest.dimensions.at('B').max;
  Profile profile = limits.profile;
  profile.max_rows =
      std::min(resolve("max_rows", limits.max_rows, profile.max_rows == 0 ? batch : profile.max_rows), batch);
  const std::int64_t recommended = voice_->backend->parallel_windows();
  const std::int64_t lanes = resolve("lanes", limits.lanes, std::min(recommended, most_lanes));
  if (lanes > most_lanes)
    throw request_error("lanes: expected at most " + std::to_string(most_lanes) + ", got " + std::to_string(lanes));
  backlog_ =
      std::make_shared<Backlog>(static_cast<std::size_t>(resolve("max_backlog", limits.max_backlog, default_backlog)));
  loop_ = std::make_shared<Loop>(voice_, profile,
                                 recommended == 0 ? 0 : static_cast<std::size_t>(lanes));  // a device has one queue
  loop_->start();
}

void Scheduler::submit(Request request, bool is_stream, const std::string& client, std::shared_ptr<Handle> handle) {
  loop_->require_here();  // before the backlog, whose lock may be held for ever in a forked process
  check_silence(*voice_, request.pieces);
  std::size_t tokens = 0;
  for (const Piece& piece : request.pieces) tokens += piece.ids.size();
  handle->set_wake([loop = std::weak_ptr(loop_)] {
    if (const auto running = loop.lock()) running->wake();
  });
  auto ticket = std::make_unique<Ticket>(backlog_, client, tokens);
  Order order = {voice_, std::move(handle), std::move(request), std::move(ticket), now()};
  if (is_stream)
    loop_->add(std::make_shared<StreamTask>(std::move(order)));
  else
    loop_->add(std::make_shared<WholeTask>(std::move(order)));
}

}  // namespace tacoglow::scheduling
