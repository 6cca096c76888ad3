#include "utterance_windows.hpp"

#include <algorithm>
#include <utility>

#include "stretch.hpp"

namespace tacoglow {
namespace {

VocoderOptions options_for(const Request& request, std::size_t piece, UtteranceWindows::Cut cut) {
  VocoderOptions options = request.vocoding_of(piece);
  if (cut == UtteranceWindows::Cut::whole) options.context_frames = -1;  // the receptive field
  return options;
}

}  // namespace

std::vector<float> Window::samples(BackendInstance& backend, const Manifest& manifest) const {
  if (start == stop) return {};
  std::vector<float> samples = Vocoder(backend, manifest, noise, options).window(mel, start, stop);
  samples.resize(static_cast<std::size_t>(kept * manifest.hop_length));
  return samples;
}

UtteranceWindows::UtteranceWindows(BackendInstance& backend, const Manifest& manifest, const Request& request,
                                   std::size_t piece, const DecodedItem& item, Cut cut)
    : decoded_(item.decoded),
      cut_(cut),
      rate_(request.rate_of(piece)),
      noise_(item.noise),
      options_(options_for(request, piece, cut)),
      frame_limit_(cut == Cut::whole ? item.decoded.frames_decoded : item.options.max_frames),
      frames_per_step_(manifest.frames_per_step),
      postnet_frames_(manifest.postnet_frames),
      later_size_(cut == Cut::whole ? manifest.synthesis.window_frames : request.segment_frames),
      lookahead_(Vocoder(backend, manifest, noise_, options_).lookahead_frames()),
      postnet_(backend, manifest, item.decoded, frame_limit_),
      stretched_(manifest.n_mel_channels, rate_ == 1.0 ? 0 : stretched_frames(frame_limit_, rate_)),
      size_(cut == Cut::whole ? later_size_ : request.first_segment_frames) {}

std::int64_t UtteranceWindows::frames_wanted() const {
  if (cut_ == Cut::whole) return frame_limit_;
  const std::int64_t frames = frames_needed(frames_seen(), rate_) + postnet_frames_;
  const std::int64_t steps = (frames + frames_per_step_ - 1) / frames_per_step_;
  return std::min(steps * frames_per_step_, frame_limit_);
}

Window UtteranceWindows::next() {
  const std::int64_t horizon = frames_wanted();
  const bool continues = !decoded_.finished || decoded_.frames_decoded > horizon;  // beyond the segment's context
  postnet_.advance(std::min(decoded_.frames_decoded, horizon), !continues);
  if (rate_ != 1.0)
    stretch(postnet_.mel(), rate_, continues ? frames_seen() : stretched_frames(postnet_.mel().n_frames(), rate_),
            stretched_);
  const MelView mel = rate_ != 1.0 ? stretched_.view() : postnet_.mel().view();
  // Windows of the whole include the frames at which the gate fired, as Python's do.
  const std::int64_t length = stretched_frames(decoded_.mel_length, rate_),
                     end = cut_ == Cut::whole ? mel.n_frames : length;
  const std::int64_t start = std::exchange(start_, continues ? start_ + size_ : std::min(start_ + size_, end));
  size_ = std::min(2 * size_, later_size_);
  const std::int64_t kept = std::max<std::int64_t>(std::min(start_, length) - start, 0);
  return {mel, start, start_, kept, !continues && start_ == end, noise_, options_};
}

}  // namespace tacoglow
