#include "faults.hpp"

namespace tacoglow {

std::vector<Fault> find_faults(const Voice& voice, const std::vector<std::int32_t>& ids, const Decoded& decoded) {
  const auto n_tokens = static_cast<std::int64_t>(ids.size());
  const bool is_cut_off = decoded.stop_reason() == TACOGLOW_STOP_FRAME_LIMIT;
  if (voice.manifest.ending.frames == 0) {
    if (is_cut_off || decoded.mel_length == 0) return {{TACOGLOW_FAULT_CUT_OFF, 0, n_tokens}};
    return {};
  }
  std::vector<bool> audible;
  for (const auto id : ids) audible.push_back(voice.letters[static_cast<std::size_t>(id)]);
  const Alignment alignment = {decoded.alignment.data(), decoded.mel_length, n_tokens, voice.manifest.frames_per_step};
  return judge(alignment, is_cut_off, audible);
}

std::vector<SpeechFault> describe_faults(const Voice& voice, const Piece& piece, const Decoded& decoded) {
  const std::vector<Fault> faults = find_faults(voice, piece.ids, decoded);
  const bool has_words = !faults.empty() && !piece.text.empty();
  return describe(faults, has_words ? voice.front_end().words(piece.text) : std::vector<SpokenWord>{});
}

}  // namespace tacoglow
