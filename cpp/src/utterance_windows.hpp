// Cuts an utterance into the windows that the vocoder computes one by one: postnet, speaking rate, vocoder. The same
// algorithm as in Python's runtime/stream.py.
#pragma once

#include <vector>

#include "postnet.hpp"
#include "request.hpp"
#include "vocoder.hpp"

namespace tacoglow {

// Frames of an utterance that are turned into samples together. They stay in the memory of the UtteranceWindows that
// cut them; the samples may be computed in any thread.
struct Window {
  MelView mel;  // at the speaking rate: all frames that the samples depend on
  std::int64_t start, stop;
  std::int64_t kept;  // frames from `start` on whose samples are the utterance's
  bool is_last;
  Noise noise;
  VocoderOptions options;

  bool is_first() const { return start == 0; }
  std::vector<float> samples(BackendInstance& backend, const Manifest& manifest) const;
};

class UtteranceWindows {
 public:
  // An utterance is cut into a stream's segments while it is decoded, or, once it is decoded, into as few windows as
  // the vocoder allows, which see its whole receptive field.
  enum class Cut { segments, whole };

  // piece: its index. item: grows while it is decoded. The references must outlive this object; the backend is used
  // only in calls of next().
  UtteranceWindows(BackendInstance& backend, const Manifest& manifest, const Request& request, std::size_t piece,
                   const DecodedItem& item, Cut cut);

  // Returns the decoded frames that the next segment depends on, in whole steps; fewer if the utterance ends before.
  std::int64_t frames_wanted() const;

  // Returns the next window, once its frames are decoded; how many more are does not change it. An utterance has at
  // least one window, which may be empty.
  Window next();

  // After the postnet; of all frames that are decoded once the last window was returned.
  const Mel& mel() const { return postnet_.mel(); }

 private:
  std::int64_t frames_seen() const { return start_ + size_ + lookahead_; }

  const Decoded& decoded_;
  Cut cut_;
  double rate_;
  Noise noise_;
  VocoderOptions options_;
  std::int64_t frame_limit_, frames_per_step_, postnet_frames_, later_size_, lookahead_;
  Postnet postnet_;
  Mel stretched_;                  // at the speaking rate, in which windows are counted; unused at a rate of 1
  std::int64_t start_ = 0, size_;  // of the next window
};

}  // namespace tacoglow
