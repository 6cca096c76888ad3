// Requests in progress: which of their pieces need decoder steps, and what the vocoder can do for them meanwhile. The
// same as in Python's runtime/scheduling/speeches.py and streams.py.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "attempts.hpp"
#include "backlog.hpp"
#include "handle.hpp"
#include "lanes.hpp"
#include "policy.hpp"
#include "rows.hpp"
#include "stream_samples.hpp"
#include "utterance_windows.hpp"

namespace tacoglow::scheduling {

// Returns seconds on a clock that only goes forward.
double now();

// A request as it was accepted.
struct Order {
  std::shared_ptr<const Voice> voice;
  std::shared_ptr<Handle> handle;
  Request request;
  std::unique_ptr<Ticket> ticket;
  double submitted;
};

// What the pieces of requests are spoken with.
struct Machine {
  BackendInstance& backend;  // of the scheduler's thread
  RowDecoder& decoder;
};

// A piece of a request, and the row that decodes it.
struct SpokenPiece {
  std::size_t index;
  Stage stage = Stage::waiting;
  std::shared_ptr<Row> row;                // from decoding to its judgement
  std::shared_ptr<const Tensors> encoded;  // once it has been opened
  Attempts attempts;
  Seconds seconds;

  explicit SpokenPiece(std::size_t i) : index(i) {}
};

// One request in progress. Used in the scheduler's thread; only the work of its jobs is done elsewhere. Pieces are
// opened one by one, so that what a task costs at each pass does not grow with its text.
class Task : public std::enable_shared_from_this<Task> {
 public:
  using Submit = std::function<bool(Job)>;  // returns false if no further job should be made ready now

  explicit Task(Order order);
  virtual ~Task() = default;

  Handle& handle() const { return *order_.handle; }
  const std::string& client() const { return order_.ticket->client(); }

  // True while its listener has more than enough to read.
  virtual bool is_resting() const { return false; }
  // Returns when the next result is needed.
  virtual double deadline() const = 0;
  // Returns the pieces that need decoder steps: open ones, and the first that waits.
  virtual std::vector<std::shared_ptr<SpokenPiece>> hungry(const Machine& machine) const = 0;
  // Submits the work that has become possible.
  virtual void submit_jobs(Machine& machine, const Submit& submit) = 0;

  // Opens the first piece that waits.
  virtual void open_next(Machine& machine);
  // Leaves the backlog, once it has ended: its jobs keep the task for a while.
  void leave() { order_.ticket->spoken(order_.ticket->tokens()); }
  // Takes note of decoder steps of a piece, of which its share took so many seconds.
  void advanced(SpokenPiece& piece, double seconds) const;

 protected:
  const Manifest& manifest() const { return order_.voice->manifest; }
  const std::vector<Piece>& pieces() const { return order_.request.pieces; }
  bool is_complete() const { return completed_ == pieces().size(); }
  double seconds_of(std::size_t samples) const;
  double whole_deadline() const;
  void open(SpokenPiece& piece, Machine& machine) const;
  // Calls the request's progress callback, if it has one.
  void report(const SpokenPiece& piece, const DecodedItem& item, std::int64_t frames_vocoded) const;
  // Takes note of samples that the listener gets, or could get if a part of the text were worth having.
  void hear(std::size_t samples);
  // Takes the utterance of a piece, and with the last one hands over the speech.
  void complete(const std::shared_ptr<SpokenPiece>& piece, Utterance utterance);
  // Fills in a complete speech.
  virtual void join_utterances(Speech& speech) = 0;

  Order order_;
  std::shared_ptr<SpokenPiece> next_piece_;                // the first one that waits; none: nullptr
  std::vector<std::shared_ptr<SpokenPiece>> open_pieces_;  // from decoding to vocoding
  std::optional<double> dry_;  // when a listener will have heard what was handed over; none: nothing was

 private:
  std::size_t completed_ = 0;  // pieces
  Speech speech_;
};

// A request whose listener wants all of it at once. Its pieces may be decoded together.
class WholeTask : public Task {
 public:
  using Task::Task;

  double deadline() const override { return whole_deadline(); }
  std::vector<std::shared_ptr<SpokenPiece>> hungry(const Machine& machine) const override;
  void submit_jobs(Machine& machine, const Submit& submit) override;

 private:
  HandOver finish_piece(const std::shared_ptr<SpokenPiece>& piece, BackendInstance& backend, const Tell& tell);
  void join_utterances(Speech& speech) override { join(*order_.voice, order_.request, speech); }
};

// A request whose listener hears the first segment while the rest is being made. Pieces are spoken in turn.
class StreamTask : public Task {
 public:
  explicit StreamTask(Order order) : Task(std::move(order)), samples_(*order_.voice, order_.request) {}

  bool is_resting() const override { return handle().unread_seconds() > unread_max; }
  double deadline() const override;
  std::vector<std::shared_ptr<SpokenPiece>> hungry(const Machine& machine) const override;
  void submit_jobs(Machine& machine, const Submit& submit) override;
  void open_next(Machine& machine) override;

 private:
  // A piece that is cut into segments while it is decoded.
  struct CutPiece {
    std::shared_ptr<SpokenPiece> spoken;
    UtteranceWindows windows;
  };
  // A segment that the vocoder has got.
  struct Segment {
    std::size_t number;  // in the order in which the listener hears them
    std::shared_ptr<CutPiece> piece;
    Window window;
  };

  double seconds_of_segment(const Window& window) const;
  void deliver(std::shared_ptr<const Segment> segment, std::vector<float> samples);
  void place(const Segment& segment, std::vector<float> samples);
  void join_utterances(Speech& speech) override { sum_up(*order_.voice, speech); }

  std::shared_ptr<CutPiece> current_;
  std::size_t cut_ = 0, delivered_ = 0;  // segments
  double seconds_in_flight_ = 0.0;       // of the segments that the vocoder has got and the listener has not
  std::map<std::size_t, std::pair<std::shared_ptr<const Segment>, std::vector<float>>>
      ready_;  // held up by earlier ones
  StreamSamples samples_;
};

}  // namespace tacoglow::scheduling
