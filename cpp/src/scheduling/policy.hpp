// Decides what is done next: which pieces decode, which job the vocoder takes, who is accepted. Pure: no threads, no
// clock. The same policy as Python's runtime/scheduling/policy.py, which says why.
//
// Everything has a deadline, in seconds on any clock, and the earliest comes first, of equal ones the first that came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace tacoglow::scheduling {

constexpr double seconds_per_token = 0.06;  // of speech at rate 1, roughly
constexpr double unread_max = 5.0;          // seconds of a stream that nobody has taken yet, beyond which it rests

// How far a piece of a request has come.
enum class Stage {
  waiting,  // for its decoder row
  decoding,
  decoded,   // to its end; the vocoder has not got all of it
  vocoding,  // the vocoder has got all of it
  spoken
};

// A piece that decoder steps would help now: one that decodes, or the first of its request that waits.
struct Candidate {
  double deadline;
  Stage stage;  // waiting or decoding
};

// True if a client who holds `held` of the `total` that is taken may have `amount` more.
bool may_accept(double amount, double held, double total, double limit);

// When a listener will have heard everything, who gets `seconds` more now and would have run dry at `dry`.
double runs_dry(double dry, double now, double seconds);

// When the speech could have been heard to its end by a listener who began at once. tokens_left: not spoken yet. rate:
// of speaking.
double whole_deadline(double dry, std::size_t tokens_left, double rate);

// When a listener needs a stream's next segment. dry: when what was handed over will have been heard; none: nothing
// was. seconds_before: of segments that the vocoder has got and the listener has not.
double segment_deadline(double submitted, std::optional<double> dry, double seconds_before);

// True for a stream's row that may rest: it has the frames of the next segment, `wanted`, and of the one after it.
bool is_far_ahead(std::int64_t decoded, std::int64_t wanted, std::int64_t segment);

// True if the vocoder may get another segment of a stream.
bool may_cut(std::size_t cut, std::size_t delivered);

// True if a request for the whole may begin another piece beside those that it has begun and not completed.
bool may_open(std::size_t open_pieces, std::size_t max_rows);

// Returns the indices of the pieces that decode next; at most `openings` of them wait for their rows, because opening
// one takes a while.
std::vector<std::size_t> choose(const std::vector<Candidate>& candidates, std::size_t max_rows, std::size_t openings);

// Returns the index of the job that an idle lane takes, if any, by the deadlines of the jobs that wait and that run.
// The express lane takes only a job that is due before all that run in the `lanes` others.
std::optional<std::size_t> next_job(const std::vector<double>& jobs, const std::vector<double>& running,
                                    std::size_t lanes, bool is_express);

// True for a job with this deadline if it should be made ready now, beside those that wait for one of so many lanes.
bool is_wanted_soon(double deadline, const std::vector<double>& jobs, std::size_t lanes);

// How much speech each client has had while others wanted some too: start-time fair queueing.
class Shares {
 public:
  // Tells who wants speech now. Whoever comes, or comes again, has had as much as the least served of them.
  void want(const std::set<std::string>& clients);
  // Takes note of what clients who want speech have got, all of a pass at once: this looks at every client.
  void give(const std::map<std::string, double>& seconds);
  // Returns by how many seconds a client has had more than the least served one of those who want speech.
  double debt(const std::string& client) const;

 private:
  void find_least();

  std::map<std::string, double> had_;  // seconds of speech
  double least_ = 0.0;                 // of those who want some
  std::set<std::string> wanting_;
};

}  // namespace tacoglow::scheduling
