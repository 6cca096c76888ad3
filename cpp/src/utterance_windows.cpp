#include "utterance_windows.hpp"

#include <algorithm>
#include <utility>

#include "stretch.hpp"

namespace tacoglow {

UtteranceWindows::UtteranceWindows(BackendInstance& backend, const Manifest& manifest, const Request& request,
                                   std::size_t piece, const DecodedItem& item)
    : decoded_(item.decoded),
      rate_(request.rate_of(piece)),
      frame_limit_(item.options.max_frames),
      frames_per_step_(manifest.frames_per_step),
      postnet_frames_(manifest.postnet_frames),
      later_size_(request.segment_frames),
      postnet_(backend, manifest, item.decoded, frame_limit_),
      vocoder_(backend, manifest, item.noise, request.vocoding_of(piece)),
      stretched_(manifest.n_mel_channels, rate_ == 1.0 ? 0 : stretched_frames(frame_limit_, rate_)),
      size_(request.first_segment_frames) {}

std::int64_t UtteranceWindows::frames_wanted() const {
  const std::int64_t frames = frames_needed(frames_seen(), rate_) + postnet_frames_;
  const std::int64_t steps = (frames + frames_per_step_ - 1) / frames_per_step_;
  return std::min(steps * frames_per_step_, frame_limit_);
}

UtteranceWindows::Segment UtteranceWindows::next() {
  const std::int64_t horizon = frames_wanted();
  const bool continues = !decoded_.finished || decoded_.frames_decoded > horizon;  // beyond the segment's context
  postnet_.advance(std::min(decoded_.frames_decoded, horizon), !continues);
  if (rate_ != 1.0)
    stretch(postnet_.mel(), rate_, continues ? frames_seen() : stretched_frames(postnet_.mel().n_frames(), rate_),
            stretched_);
  const std::int64_t length = stretched_frames(decoded_.mel_length, rate_), wanted = start_ + size_;
  const std::int64_t stop = continues ? wanted : std::min(wanted, length);
  Segment segment = {{}, start_ == 0, !continues && stop == length};
  if (start_ < stop) segment.samples = vocoder_.window(rate_ != 1.0 ? stretched_ : postnet_.mel(), start_, stop);
  start_ = stop;
  size_ = later_size_;
  return segment;
}

}  // namespace tacoglow
