#include "task.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "encoder.hpp"

namespace tacoglow::scheduling {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Task::Task(Order order) : order_(std::move(order)) {
  next_piece_ = std::make_shared<SpokenPiece>(0);
  speech_.utterances.resize(pieces().size());
}

double Task::seconds_of(std::size_t samples) const {
  return static_cast<double>(samples) / static_cast<double>(manifest().sampling_rate);
}

double Task::whole_deadline() const {
  return scheduling::whole_deadline(dry_.value_or(order_.submitted), order_.ticket->tokens(), order_.request.rate);
}

void Task::open_next(Machine& machine) {
  open(*next_piece_, machine);
  open_pieces_.push_back(next_piece_);
  const std::size_t next = next_piece_->index + 1;
  next_piece_ = next < pieces().size() ? std::make_shared<SpokenPiece>(next) : nullptr;
}

// Begins to decode a piece, or begins again with the noise of the next try.
void Task::open(SpokenPiece& piece, Machine& machine) const {
  const std::vector<std::int32_t>& ids = pieces()[piece.index].ids;
  if (!piece.encoded) {
    Stopwatch watch;
    piece.encoded = std::make_shared<const Tensors>(encode(machine.backend, manifest(), ids));
    piece.seconds.encoder += watch.lap();
  }
  const auto length = static_cast<std::int64_t>(ids.size());
  const Noise noise = order_.request.noise(piece.index).for_attempt(piece.attempts.count());
  piece.row = machine.decoder.open({length, noise, order_.request.decoding.of(length, manifest().frames_per_step), {}},
                                   piece.encoded);
  piece.stage = Stage::decoding;
}

void Task::advanced(SpokenPiece& piece, double seconds) const {
  piece.seconds.decoder += seconds;
  if (piece.row->item.decoded.finished) piece.stage = Stage::decoded;
  report(piece, piece.row->item, 0);
}

void Task::report(const SpokenPiece& piece, const DecodedItem& item, std::int64_t frames_vocoded) const {
  if (order_.request.progress == nullptr) return;
  handle().call_back(
      [&] { return report_progress(order_.request, piece.index, item.decoded.frames_decoded, frames_vocoded); });
}

void Task::hear(std::size_t samples) {
  if (samples == 0) return;
  dry_ = runs_dry(dry_.value_or(now()), now(), seconds_of(samples));
}

void Task::complete(const std::shared_ptr<SpokenPiece>& piece, Utterance utterance) {
  speech_.seconds += piece->seconds;
  speech_.utterances[piece->index] = std::move(utterance);
  ++completed_;
  order_.ticket->spoken(pieces()[piece->index].ids.size());
  piece->stage = Stage::spoken;
  piece->row = nullptr;
  open_pieces_.erase(std::find(open_pieces_.begin(), open_pieces_.end(), piece));
  if (!is_complete()) return;
  join_utterances(speech_);
  handle().finish(std::move(speech_));
}

std::vector<std::shared_ptr<SpokenPiece>> WholeTask::hungry(const Machine& machine) const {
  std::vector<std::shared_ptr<SpokenPiece>> found;
  for (const auto& piece : open_pieces_)
    if (piece->stage == Stage::decoding) found.push_back(piece);
  if (next_piece_ && may_open(open_pieces_.size(), machine.decoder.max_rows())) found.push_back(next_piece_);
  return found;
}

void WholeTask::submit_jobs(Machine& machine, const Submit& submit) {
  for (const auto& piece : open_pieces_) {
    if (piece->stage != Stage::decoded) continue;
    const std::vector<std::int32_t>& ids = pieces()[piece->index].ids;
    if (piece->attempts.add(*order_.voice, ids, std::move(piece->row->item), order_.request.retries)) {
      open(*piece, machine);
      continue;
    }
    piece->stage = Stage::vocoding;
    piece->row = nullptr;
    const auto self = std::static_pointer_cast<WholeTask>(shared_from_this());
    const auto work = [self, piece = piece](BackendInstance& backend, const Tell& tell) {
      return self->finish_piece(piece, backend, tell);
    };
    if (!submit({deadline(), client(), work, order_.handle})) return;
  }
}

// The work of a job.
HandOver WholeTask::finish_piece(const std::shared_ptr<SpokenPiece>& piece, BackendInstance& backend,
                                 const Tell& tell) {
  const auto self = std::static_pointer_cast<WholeTask>(shared_from_this());
  const DecodedItem& item = piece->attempts.best();
  const auto before_window = [&](std::int64_t frames) {
    if (order_.request.progress != nullptr)
      tell([self, piece, frames] { self->report(*piece, piece->attempts.best(), frames); });
    if (handle().has_ended()) throw Error(TACOGLOW_CANCELLED, "the request has ended");
  };
  auto utterance = std::make_shared<Utterance>(
      finish(backend, *order_.voice, order_.request, piece->index, item, before_window, piece->seconds));
  return [self, piece, utterance] {
    self->hear(utterance->samples.size());
    self->complete(piece, std::move(*utterance));
  };
}

double StreamTask::deadline() const { return segment_deadline(order_.submitted, dry_, seconds_in_flight_); }

std::vector<std::shared_ptr<SpokenPiece>> StreamTask::hungry(const Machine&) const {
  if (!current_) return next_piece_ ? std::vector{next_piece_} : std::vector<std::shared_ptr<SpokenPiece>>();
  if (current_->spoken->stage != Stage::decoding) return {};
  const Decoded& decoded = current_->spoken->row->item.decoded;
  if (is_far_ahead(decoded.frames_decoded, current_->windows.frames_wanted(), order_.request.segment_frames)) return {};
  return {current_->spoken};
}

void StreamTask::open_next(Machine& machine) {
  Task::open_next(machine);
  const auto& spoken = open_pieces_.back();
  current_.reset(new CutPiece{spoken,
                              {machine.backend, manifest(), order_.request, spoken->index, spoken->row->item,
                               UtteranceWindows::Cut::segments}});
}

void StreamTask::submit_jobs(Machine&, const Submit& submit) {
  while (current_ && may_cut(cut_, delivered_)) {
    const Decoded& decoded = current_->spoken->row->item.decoded;
    if (!decoded.finished && decoded.frames_decoded < current_->windows.frames_wanted()) return;
    Stopwatch watch;
    const auto segment = std::make_shared<const Segment>(Segment{cut_, current_, current_->windows.next()});
    current_->spoken->seconds.postnet += watch.lap();
    const double due = deadline();
    ++cut_;
    seconds_in_flight_ += seconds_of_segment(segment->window);
    if (segment->window.is_last) {
      current_->spoken->stage = Stage::vocoding;
      current_ = nullptr;
    }
    const auto self = std::static_pointer_cast<StreamTask>(shared_from_this());
    const auto work = [self, segment](BackendInstance& backend, const Tell&) -> HandOver {
      auto samples = std::make_shared<std::vector<float>>(segment->window.samples(backend, self->manifest()));
      return [self, segment, samples] { self->deliver(segment, std::move(*samples)); };
    };
    if (!submit({due, client(), work, order_.handle})) return;
  }
}

double StreamTask::seconds_of_segment(const Window& window) const {
  return seconds_of(static_cast<std::size_t>(window.kept * manifest().hop_length));
}

// Hands over this segment and those that it held up, in order.
void StreamTask::deliver(std::shared_ptr<const Segment> segment, std::vector<float> samples) {
  const std::size_t number = segment->number;
  ready_[number] = {std::move(segment), std::move(samples)};
  for (auto ready = ready_.find(delivered_); ready != ready_.end(); ready = ready_.find(delivered_)) {
    auto [next, own] = std::move(ready->second);
    ready_.erase(ready);
    ++delivered_;
    seconds_in_flight_ -= seconds_of_segment(next->window);
    place(*next, std::move(own));
  }
}

// Hands over a segment with its fades and the pauses beside it.
void StreamTask::place(const Segment& segment, std::vector<float> samples) {
  const SpokenPiece& spoken = *segment.piece->spoken;
  const Window& window = segment.window;
  hear(samples_.add(spoken.index, window.is_first(), window.is_last, std::move(samples),
                    [this](std::vector<float> heard) { handle().put(std::move(heard)); }));
  report(spoken, spoken.row->item, window.stop);
  if (!window.is_last) return;
  Utterance utterance = describe(*order_.voice, pieces()[spoken.index], spoken.row->item, segment.piece->windows.mel());
  samples_.locate(utterance);
  complete(segment.piece->spoken, std::move(utterance));
}

}  // namespace tacoglow::scheduling
