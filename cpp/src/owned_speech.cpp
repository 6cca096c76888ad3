#include "owned_speech.hpp"

#include <utility>

namespace tacoglow {

OwnedSpeech::OwnedSpeech(const Voice& voice, Speech&& speech) : tacoglow_speech{} {
  std::vector<SpeechFault> all;
  for (const Utterance& u : speech.utterances) {
    list_faults(u, listed_.emplace_back());
    list_times(voice, u, listed_.back());
    all.insert(all.end(), u.faults.begin(), u.faults.end());
  }
  for (const SpeechFault& fault : all) fault_reasons |= fault.reason;
  for (std::size_t i = 0; i < listed_.size(); ++i) {
    const Utterance& u = speech.utterances[i];
    const Listed& listed = listed_[i];
    utterances_.push_back({u.piece.text.c_str(), u.piece.ids.data(), u.piece.ids.size(),
                           static_cast<size_t>(u.n_frames), u.mel.data(), u.alignment.data(), u.gate.data(),
                           u.stop_reason, listed.faults.data(), listed.faults.size(), listed.quality.c_str(),
                           u.first_sample, u.n_samples, listed.timed_words.data(), listed.timed_words.size(),
                           listed.timed_tokens.data()});
  }
  quality_ = to_text(all);
  owned_ = std::move(speech);  // its utterances stay where they are
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

void OwnedSpeech::list_faults(const Utterance& utterance, Listed& listed) {
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
}

void OwnedSpeech::list_times(const Voice& voice, const Utterance& utterance, Listed& listed) {
  listed.times = time_utterance(voice, utterance);
  const auto list = [](const std::vector<TimedText>& timed, std::vector<tacoglow_timed_text>& target) {
    for (const TimedText& each : timed) target.push_back({each.text.c_str(), each.start, each.end});
  };
  list(listed.times.words, listed.timed_words);
  list(listed.times.tokens, listed.timed_tokens);
}

}  // namespace tacoglow
