// Cuts an utterance into segments while it is being decoded: postnet, speaking rate, vocoder. The same algorithm as in
// Python's runtime/stream.py.
#pragma once

#include <vector>

#include "postnet.hpp"
#include "request.hpp"
#include "vocoder.hpp"

namespace tacoglow {

class UtteranceWindows {
 public:
  struct Segment {
    std::vector<float> samples;
    bool is_first, is_last;
  };

  // piece: its index. item: grows while it is decoded. The references must outlive this object.
  UtteranceWindows(BackendInstance& backend, const Manifest& manifest, const Request& request, std::size_t piece,
                   const DecodedItem& item);

  // Returns the decoded frames that the next segment depends on, in whole steps; fewer if the utterance ends before.
  std::int64_t frames_wanted() const;

  // Returns the next segment, once its frames are decoded; how many more are does not change it. An utterance has at
  // least one segment, which may be empty.
  Segment next();

  // After the postnet; of all frames that are decoded once the last segment was returned.
  const Mel& mel() const { return postnet_.mel(); }

 private:
  std::int64_t frames_seen() const { return start_ + size_ + vocoder_.lookahead_frames(); }

  const Decoded& decoded_;
  double rate_;
  std::int64_t frame_limit_, frames_per_step_, postnet_frames_, later_size_;
  Postnet postnet_;
  Vocoder vocoder_;
  Mel stretched_;                  // at the speaking rate, in which segments are counted; unused at a rate of 1
  std::int64_t start_ = 0, size_;  // of the next segment
};

}  // namespace tacoglow
