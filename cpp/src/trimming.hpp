// Leaves out the silence at both ends of speech, whole and streamed, as Python's runtime/output/trimming.py does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace tacoglow {

// Takes speech in segments; how it is cut does not matter. Silence within it is given back with the next audible
// samples.
class SilenceTrimmer {
 public:
  // volume: factor of the samples.
  SilenceTrimmer(std::int64_t sampling_rate, double volume);

  // Takes the next segment, and returns what can be heard by now; possibly nothing.
  std::vector<float> push(const std::vector<float>& samples, bool is_last = false);

  // Samples left out at the beginning; all of them as long as nothing was audible.
  std::int64_t lead() const { return lead_; }

 private:
  bool is_audible(std::int64_t frame) const;

  std::int64_t frame_samples_;
  double threshold_;
  std::vector<float> held_;  // from the beginning of a frame on
  std::int64_t lead_ = 0;
  std::optional<std::int64_t> quiet_;  // silent frames given back after the last audible one; none: none was audible
};

}  // namespace tacoglow
