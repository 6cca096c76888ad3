#include "quality.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace tacoglow {
namespace {

// As in Python's runtime/quality.py.
constexpr std::int64_t smoothed_frames = 5;
constexpr std::size_t skipped_tokens = 3;
constexpr double skipped_share = 0.12;
constexpr std::int64_t back_tokens = 2, back_frames = 3;
constexpr double stuck_paces = 12.0, pause_paces = 18.0, ended_paces = 14.0, unfocused_paces = 8.0;
constexpr float focus = 0.25F;
constexpr std::size_t most_shown = 6;

using Positions = std::vector<std::int64_t>;

struct Run {
  std::int64_t first, stop;
};

// Returns the runs of the indices below `count` for which `flag` is true.
template <typename Flag>
std::vector<Run> runs(std::int64_t count, const Flag& flag) {
  std::vector<Run> found;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!flag(i)) continue;
    if (found.empty() || found.back().stop < i) found.push_back({i, i});
    found.back().stop = i + 1;
  }
  return found;
}

template <typename Flag>
std::int64_t longest_run(std::int64_t count, const Flag& flag) {
  std::int64_t longest = 0;
  for (const auto& [first, stop] : runs(count, flag)) longest = std::max(longest, stop - first);
  return longest;
}

// The attention of one utterance, and what is told from it. Frames and tokens are counted in 64 bits.
class Walk {
 public:
  Walk(const Alignment& alignment, const std::vector<bool>& audible, Positions letters)
      : n_frames_(alignment.n_frames), audible_(audible), letters_(std::move(letters)) {
    Positions rests;
    for (std::int64_t frame = 0; frame < n_frames_; ++frame) {
      const float* row = alignment.row(frame);
      const float* most = std::max_element(row, row + alignment.n_tokens);
      rests.push_back(most - row);
      is_focused_.push_back(*most >= focus);
    }
    attended_.assign(letters_.size(), 0.0);
    for (std::int64_t frame = 0; frame < n_frames_; ++frame)
      for (std::size_t i = 0; i < letters_.size(); ++i) attended_[i] += alignment.row(frame)[letters_[i]];
    pace_ = pace();
    position_ = smooth(rests);
    for (const auto position : position_) {
      const auto after = std::upper_bound(letters_.begin(), letters_.end(), position) - letters_.begin();
      walk_.push_back(std::max<std::int64_t>(after - 1, 0));
    }
  }

  std::vector<Fault> faults(bool is_cut_off) const {
    std::vector<Fault> found;
    add_endless(is_cut_off, found);
    const auto looks_nowhere = [&](std::int64_t frame) { return !is_focused_[static_cast<std::size_t>(frame)]; };
    if (static_cast<double>(longest_run(n_frames_, looks_nowhere)) > unfocused_paces * pace_) {
      found.push_back({TACOGLOW_FAULT_BABBLE, 0, static_cast<std::int64_t>(audible_.size())});
    } else {
      add_skipped(found);
      add_repeated(found);
      add_stuck(found);
    }
    std::stable_sort(found.begin(), found.end(), [](const Fault& a, const Fault& b) {
      return std::pair(a.first, a.stop) < std::pair(b.first, b.stop);
    });
    return found;
  }

 private:
  // Returns the frames of an ordinary letter; those of the last one are the end's.
  double pace() const {
    std::vector<double> spoken;
    const std::size_t inner = letters_.size() > 1 ? letters_.size() - 1 : 1;
    std::copy_if(attended_.begin(), attended_.begin() + static_cast<std::ptrdiff_t>(inner), std::back_inserter(spoken),
                 [](double frames) { return frames >= 1.0; });
    std::sort(spoken.begin(), spoken.end());
    return spoken.empty() ? 1.0 : spoken[(spoken.size() - 1) / 2];
  }

  // Returns the running median.
  Positions smooth(const Positions& rests) const {
    Positions smoothed;
    std::array<std::int64_t, smoothed_frames> window{};
    for (std::int64_t frame = 0; frame < n_frames_; ++frame) {
      for (std::int64_t i = 0; i < smoothed_frames; ++i) {
        const std::int64_t near = std::clamp<std::int64_t>(frame + i - smoothed_frames / 2, 0, n_frames_ - 1);
        window[static_cast<std::size_t>(i)] = rests[static_cast<std::size_t>(near)];
      }
      std::sort(window.begin(), window.end());
      smoothed.push_back(window[smoothed_frames / 2]);
    }
    return smoothed;
  }

  // Frames after the last letter that are more than a voice lets sound, and an end that the frame limit made.
  void add_endless(bool is_cut_off, std::vector<Fault>& found) const {
    const std::int64_t last = letters_.back();
    const std::int64_t at_end = longest_run(n_frames_, [&](std::int64_t frame) { return position(frame) >= last; });
    if (static_cast<double>(at_end) > ended_paces * pace_ || (is_cut_off && at_end > 0))
      found.push_back({TACOGLOW_FAULT_BABBLE, last + 1, last + 1});
    else if (is_cut_off)
      found.push_back({TACOGLOW_FAULT_CUT_OFF, letter(*std::max_element(walk_.begin(), walk_.end())), last + 1});
  }

  // Runs of letters that hardly any frame attends to; cut off, if it is those at the end.
  void add_skipped(std::vector<Fault>& found) const {
    const std::size_t size = std::min(skipped_tokens, letters_.size());
    std::vector<bool> is_covered(letters_.size());
    for (std::size_t i = 0; i + size <= letters_.size(); ++i) {
      double frames = 0.0;
      for (std::size_t k = 0; k < size; ++k) frames += attended_[i + k];
      if (frames < skipped_share * static_cast<double>(size) * pace_)
        for (std::size_t k = 0; k < size; ++k) is_covered[i + k] = true;
    }
    const auto n_letters = static_cast<std::int64_t>(letters_.size());
    const auto covered = [&](std::int64_t i) { return is_covered[static_cast<std::size_t>(i)]; };
    for (const auto& [first, stop] : runs(n_letters, covered))
      found.push_back(
          {stop == n_letters ? TACOGLOW_FAULT_CUT_OFF : TACOGLOW_FAULT_SKIPPED, letter(first), letter(stop - 1) + 1});
  }

  // Returns to letters before the furthest one so far.
  void add_repeated(std::vector<Fault>& found) const {
    Positions furthest;
    for (const auto at : walk_) furthest.push_back(furthest.empty() ? at : std::max(furthest.back(), at));
    const auto is_behind = [&](std::int64_t frame) {
      const auto i = static_cast<std::size_t>(frame);
      return furthest[i] - walk_[i] >= back_tokens;
    };
    for (const auto& [first, stop] : runs(n_frames_, is_behind)) {
      if (stop - first < back_frames) continue;
      const std::int64_t back = *std::min_element(walk_.begin() + first, walk_.begin() + stop);
      found.push_back({TACOGLOW_FAULT_REPEATED, letter(back), letter(furthest[static_cast<std::size_t>(first)]) + 1});
    }
  }

  // Rests on one token before the last letter.
  void add_stuck(std::vector<Fault>& found) const {
    for (std::int64_t first = 0, stop = 0; first < n_frames_; first = stop) {
      const std::int64_t token = position(first);
      while (stop < n_frames_ && position(stop) == token) ++stop;
      const double most = audible_[static_cast<std::size_t>(token)] ? stuck_paces : pause_paces;
      if (token < letters_.back() && static_cast<double>(stop - first) > most * pace_)
        found.push_back({TACOGLOW_FAULT_STUCK, token, token + 1});
    }
  }

  std::int64_t position(std::int64_t frame) const { return position_[static_cast<std::size_t>(frame)]; }
  std::int64_t letter(std::int64_t i) const { return letters_[static_cast<std::size_t>(i)]; }

  std::int64_t n_frames_;
  const std::vector<bool>& audible_;
  Positions letters_;             // the tokens that are letters
  std::vector<double> attended_;  // by letter: frames that attend to it
  double pace_ = 1.0;             // frames of an ordinary letter
  Positions position_;            // by frame: the token where the attention rests
  Positions walk_;                // likewise, in letters
  std::vector<bool> is_focused_;  // by frame
};

const char* name_of(tacoglow_fault_reason reason) {
  switch (reason) {
    case TACOGLOW_FAULT_SKIPPED:
      return "skipped";
    case TACOGLOW_FAULT_REPEATED:
      return "repeated";
    case TACOGLOW_FAULT_STUCK:
      return "stuck";
    case TACOGLOW_FAULT_CUT_OFF:
      return "cut off";
    case TACOGLOW_FAULT_BABBLE:
      break;
  }
  return "babble";
}

}  // namespace

std::vector<Fault> judge(const Alignment& alignment, bool is_cut_off, const std::vector<bool>& audible) {
  Positions letters;
  for (std::size_t i = 0; i < audible.size(); ++i)
    if (audible[i]) letters.push_back(static_cast<std::int64_t>(i));
  if (letters.empty()) return {};
  if (alignment.n_frames == 0) return {{TACOGLOW_FAULT_CUT_OFF, 0, static_cast<std::int64_t>(audible.size())}};
  return Walk(alignment, audible, std::move(letters)).faults(is_cut_off);
}

std::int64_t severity(const std::vector<Fault>& faults, std::int64_t n_tokens) {
  std::int64_t sum = 0;
  for (const auto& [reason, first, stop] : faults)
    sum += reason == TACOGLOW_FAULT_BABBLE ? n_tokens : std::max<std::int64_t>(stop - first, 1);
  return sum;
}

std::vector<SpeechFault> describe(const std::vector<Fault>& faults, const std::vector<SpokenWord>& words) {
  std::vector<SpeechFault> described;
  for (const Fault& fault : faults) {
    described.push_back({fault, {}});
    for (const auto& word : words)
      if (word.first < fault.stop && fault.first < word.stop) described.back().words.push_back(word.text);
  }
  return described;
}

std::string to_text(const std::vector<SpeechFault>& faults) {
  std::string text;
  for (const auto& fault : faults) {
    text += text.empty() ? "" : "; ";
    text += name_of(fault.reason);
    for (std::size_t i = 0; i < fault.words.size(); ++i) {
      const bool is_hidden = fault.words.size() > most_shown && i + 1 >= most_shown && i + 1 < fault.words.size();
      if (i == 0) text += ":";
      if (!is_hidden)
        text += " " + fault.words[i];
      else if (i + 1 == most_shown)
        text += " …";
    }
  }
  return text.empty() ? "good" : text;
}

}  // namespace tacoglow
