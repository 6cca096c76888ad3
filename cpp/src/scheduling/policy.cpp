#include "policy.hpp"

#include <algorithm>
#include <numeric>

namespace tacoglow::scheduling {
namespace {

constexpr std::size_t open_pieces_max = 2;     // times max_rows: of a request for the whole
constexpr std::size_t segments_in_flight = 2;  // of one stream
constexpr double first_lead = 5.0;             // seconds that listeners who have run dry wait for those without audio
constexpr double debt_max = 10.0;              // seconds of speech

}  // namespace

bool may_accept(double amount, double held, double total, double limit) {
  return total == 0.0 || held + amount <= limit - total;
}

double runs_dry(double dry, double now, double seconds) { return std::max(dry, now) + seconds; }

double whole_deadline(double dry, std::size_t tokens_left, double rate) {
  return dry + static_cast<double>(tokens_left) * seconds_per_token / rate;
}

double segment_deadline(double submitted, std::optional<double> dry, double seconds_before) {
  if (!dry) return submitted + (seconds_before != 0.0 ? seconds_before : -first_lead);
  return *dry + seconds_before;
}

bool is_far_ahead(std::int64_t decoded, std::int64_t wanted, std::int64_t segment) {
  return decoded >= wanted + segment;
}

bool may_cut(std::size_t cut, std::size_t delivered) { return cut - delivered < segments_in_flight; }

bool may_open(std::size_t open_pieces, std::size_t max_rows) { return open_pieces < open_pieces_max * max_rows; }

std::vector<std::size_t> choose(const std::vector<Candidate>& candidates, std::size_t max_rows, std::size_t openings) {
  std::vector<std::size_t> order(candidates.size()), chosen;
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return candidates[a].deadline < candidates[b].deadline; });
  for (const std::size_t i : order) {
    if (chosen.size() == max_rows) break;
    if (candidates[i].stage == Stage::waiting) {
      if (openings == 0) continue;
      --openings;
    }
    chosen.push_back(i);
  }
  return chosen;
}

std::optional<std::size_t> next_job(const std::vector<double>& jobs, const std::vector<double>& running,
                                    std::size_t lanes, bool is_express) {
  const auto job = std::min_element(jobs.begin(), jobs.end());
  if (job == jobs.end()) return std::nullopt;
  const bool is_urgent = !is_express || (running.size() >= lanes && !running.empty() &&
                                         *job < *std::min_element(running.begin(), running.end()));
  return is_urgent ? std::optional(static_cast<std::size_t>(job - jobs.begin())) : std::nullopt;
}

bool is_wanted_soon(double deadline, const std::vector<double>& jobs, std::size_t lanes) {
  const auto before = std::count_if(jobs.begin(), jobs.end(), [&](double job) { return job <= deadline; });
  return static_cast<std::size_t>(before) <= lanes;
}

void Shares::want(const std::set<std::string>& clients) {
  for (const std::string& client : clients)
    if (wanting_.count(client) == 0) {
      double& had = had_[client];
      had = std::max(had, least_);
    }
  wanting_ = clients;
  find_least();
  // What others have had too is forgotten, and with an idle scheduler everything.
  for (auto entry = had_.begin(); entry != had_.end();) {
    const bool is_kept = wanting_.count(entry->first) != 0 || (!wanting_.empty() && entry->second > least_);
    entry = is_kept ? std::next(entry) : had_.erase(entry);
  }
}

void Shares::give(const std::map<std::string, double>& seconds) {
  for (const auto& [client, more] : seconds) had_.at(client) += more;
  find_least();
}

double Shares::debt(const std::string& client) const {
  const auto own = had_.find(client);
  return own != had_.end() ? std::min(std::max(own->second - least_, 0.0), debt_max) : 0.0;
}

void Shares::find_least() {
  if (wanting_.empty()) return;
  least_ = had_.at(*wanting_.begin());
  for (const std::string& client : wanting_) least_ = std::min(least_, had_.at(client));
}

}  // namespace tacoglow::scheduling
