// The samples of a stream as its listener gets them.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "request.hpp"
#include "trimming.hpp"
#include "utterance.hpp"

namespace tacoglow {

// Adds fades and pauses to the segments of a stream, and leaves out the silence at its ends if the request wants that.
class StreamSamples {
 public:
  using Put = std::function<void(std::vector<float>)>;

  // The references must outlive this object.
  StreamSamples(const Voice& voice, const Request& request);

  // Takes the next segment of a piece, and hands over what can be heard by now, in parts that are not empty. Returns
  // how many samples that is.
  std::size_t add(std::size_t piece, bool is_first, bool is_last, std::vector<float> samples, const Put& put);

  // Says where in the stream the utterance is whose last segment was taken.
  void locate(Utterance& utterance) const;

 private:
  const Voice& voice_;
  const Request& request_;
  std::optional<SilenceTrimmer> trimmer_;
  std::size_t made_ = 0;   // samples, with the silence that is left out
  std::size_t first_ = 0;  // of the piece that was taken last
};

}  // namespace tacoglow
