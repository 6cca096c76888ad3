#include "stream_samples.hpp"

#include <utility>

#include "pieces.hpp"

namespace tacoglow {

StreamSamples::StreamSamples(const Voice& voice, const Request& request) : voice_(voice), request_(request) {
  if (request.trim_silence) trimmer_.emplace(voice.manifest.sampling_rate, request.vocoding.volume);
}

std::size_t StreamSamples::add(std::size_t piece, bool is_first, bool is_last, std::vector<float> samples,
                               const Put& put) {
  const std::vector<Piece>& pieces = request_.pieces;
  if (is_first) first_ = made_ + count_silence(pieces[piece].pause_before, voice_.manifest.sampling_rate);
  std::size_t n_heard = 0;
  const auto hand_over = [&](std::vector<float> part) {
    if (part.empty()) return;
    n_heard += part.size();
    put(std::move(part));
  };
  place_segment(voice_, pieces, piece, is_first, is_last, std::move(samples), [&](std::vector<float> part) {
    made_ += part.size();
    hand_over(trimmer_ ? trimmer_->push(part) : std::move(part));
  });
  if (trimmer_ && is_last && piece + 1 == pieces.size()) hand_over(trimmer_->push({}, true));
  return n_heard;
}

void StreamSamples::locate(Utterance& utterance) const {
  utterance.n_samples = made_ - count_silence(utterance.piece.pause, voice_.manifest.sampling_rate) - first_;
  utterance.first_sample = static_cast<std::int64_t>(first_) - (trimmer_ ? trimmer_->lead() : 0);
}

}  // namespace tacoglow
