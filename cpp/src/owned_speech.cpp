#include "owned_speech.hpp"

#include <utility>

namespace tacoglow {

OwnedSpeech::OwnedSpeech(Speech speech) : tacoglow_speech{}, owned_(std::move(speech)) {
  std::vector<SpeechFault> all;
  for (const Utterance& u : owned_.utterances) {
    listed_.push_back(list_faults(u));
    all.insert(all.end(), u.faults.begin(), u.faults.end());
  }
  for (const SpeechFault& fault : all) fault_reasons |= fault.reason;
  for (std::size_t i = 0; i < listed_.size(); ++i) {
    const Utterance& u = owned_.utterances[i];
    utterances_.push_back({u.piece.text.c_str(), u.piece.ids.data(), u.piece.ids.size(),
                           static_cast<size_t>(u.n_frames), u.mel.data(), u.alignment.data(), u.gate.data(),
                           u.stop_reason, listed_[i].faults.data(), listed_[i].faults.size(),
                           listed_[i].quality.c_str(), u.first_sample, u.n_samples});
  }
  quality_ = to_text(all);
  samples = owned_.samples.data();
  n_samples = owned_.samples.size();
  mel = owned_.mel.data();
  n_frames = static_cast<size_t>(owned_.n_frames);
  stop_reason = owned_.stop_reason;
  quality = quality_.c_str();
  encoder_seconds = owned_.seconds.encoder;
  decoder_seconds = owned_.seconds.decoder;
  postnet_seconds = owned_.seconds.postnet;
  vocoder_seconds = owned_.seconds.vocoder;
  utterances = utterances_.data();
  n_utterances = utterances_.size();
}

OwnedSpeech::Listed OwnedSpeech::list_faults(const Utterance& utterance) {
  Listed listed;
  for (const SpeechFault& fault : utterance.faults) {
    listed.words.emplace_back();
    for (const auto& word : fault.words) listed.words.back().push_back(word.c_str());
  }
  for (std::size_t i = 0; i < utterance.faults.size(); ++i) {
    const SpeechFault& fault = utterance.faults[i];
    listed.faults.push_back({fault.reason, static_cast<size_t>(fault.first),
                             static_cast<size_t>(fault.stop - fault.first), listed.words[i].data(),
                             listed.words[i].size()});
  }
  listed.quality = to_text(utterance.faults);
  return listed;
}

}  // namespace tacoglow
