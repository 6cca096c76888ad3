// Answers questions to the scheduler's policy, a line each, so that the test suite can compare it with Python's.

#include "policy_check.hpp"

#include <cmath>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "same_speech.hpp"
#include "scheduling/policy.hpp"

namespace tacoglow::checks {
namespace {

using namespace scheduling;

using Numbers = std::vector<double>;

std::size_t size_at(const Numbers& n, std::size_t i) { return static_cast<std::size_t>(n.at(i)); }
std::int64_t integer_at(const Numbers& n, std::size_t i) { return static_cast<std::int64_t>(n.at(i)); }
Numbers from(const Numbers& n, std::size_t first) { return {n.begin() + static_cast<std::ptrdiff_t>(first), n.end()}; }

Numbers choose_by(const Numbers& n) {  // max_rows, openings, then deadline and 1 for decoding of each
  std::vector<Candidate> candidates;
  for (std::size_t i = 2; i < n.size(); i += 2)
    candidates.push_back({n[i], n.at(i + 1) != 0.0 ? Stage::decoding : Stage::waiting});
  Numbers chosen;
  for (const std::size_t i : choose(candidates, size_at(n, 0), size_at(n, 1))) chosen.push_back(static_cast<double>(i));
  return chosen;
}

Numbers next_by(const Numbers& n) {  // lanes, 1 for express, the number of jobs, jobs, those that run
  const auto split = n.begin() + 3 + static_cast<std::ptrdiff_t>(n.at(2));
  const auto job = next_job({n.begin() + 3, split}, {split, n.end()}, size_at(n, 0), n.at(1) != 0.0);
  return job ? Numbers{static_cast<double>(*job)} : Numbers{};
}

Numbers answer(const std::string& question, const Numbers& n) {
  if (question == "choose") return choose_by(n);
  if (question == "next_job") return next_by(n);
  if (question == "is_wanted_soon") return {is_wanted_soon(n.at(0), from(n, 2), size_at(n, 1)) ? 1.0 : 0.0};
  if (question == "may_accept") return {may_accept(n.at(0), n.at(1), n.at(2), n.at(3)) ? 1.0 : 0.0};
  if (question == "runs_dry") return {runs_dry(n.at(0), n.at(1), n.at(2))};
  if (question == "whole_deadline") return {whole_deadline(n.at(0), size_at(n, 1), n.at(2))};
  if (question == "segment_deadline")
    return {segment_deadline(n.at(0), std::isnan(n.at(1)) ? std::nullopt : std::optional(n.at(1)), n.at(2))};
  if (question == "is_far_ahead")
    return {is_far_ahead(integer_at(n, 0), integer_at(n, 1), integer_at(n, 2)) ? 1.0 : 0.0};
  if (question == "may_cut") return {may_cut(size_at(n, 0), size_at(n, 1)) ? 1.0 : 0.0};
  require(question == "may_open", question + ": unknown question");
  return {may_open(size_at(n, 0), size_at(n, 1)) ? 1.0 : 0.0};
}

}  // namespace

void answer_policy() {
  Shares shares;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string question, client;
    words >> question;
    if (question == "want") {
      shares.want({std::istream_iterator<std::string>(words), {}});
    } else if (question == "give") {
      std::map<std::string, double> given;
      for (double seconds = 0.0; words >> client >> seconds;) given[client] = seconds;
      shares.give(given);
    } else if (question == "debt") {
      words >> client;
      std::printf("%.17g", shares.debt(client));
    } else {
      Numbers numbers;
      for (std::string word; words >> word;) numbers.push_back(std::stod(word));
      for (const double number : answer(question, numbers)) std::printf("%.17g ", number);
    }
    std::printf("\n");
  }
}

}  // namespace tacoglow::checks
