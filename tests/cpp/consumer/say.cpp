// Text in, wav out: say BUNDLE TEXT WAV
#include <tacoglow.h>

#include <cstdio>
#include <memory>
#include <stdexcept>

namespace {

void check(tacoglow_status status) {
  if (status != TACOGLOW_OK) throw std::runtime_error(tacoglow_last_error());
}

void say(const char* bundle, const char* text, const char* wav) {
  tacoglow_open_options options;
  tacoglow_open_options_init(&options);
  options.threads = 1;
  tacoglow_voice* opened = nullptr;
  check(tacoglow_voice_open(bundle, &options, &opened));
  const std::unique_ptr<tacoglow_voice, void (*)(tacoglow_voice*)> voice(opened, tacoglow_voice_close);
  tacoglow_session* started = nullptr;
  check(tacoglow_session_open(opened, &started));
  const std::unique_ptr<tacoglow_session, void (*)(tacoglow_session*)> session(started, tacoglow_session_close);
  tacoglow_request request;
  tacoglow_request_init(&request);
  request.text = text;
  request.seed = 5;
  tacoglow_speech* spoken = nullptr;
  check(tacoglow_speak(started, &request, &spoken));
  const std::unique_ptr<tacoglow_speech, void (*)(tacoglow_speech*)> speech(spoken, tacoglow_speech_free);
  check(tacoglow_wav_write(wav, spoken->samples, spoken->n_samples, tacoglow_voice_facts(opened)->sampling_rate,
                           TACOGLOW_WAV_FLOAT32));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    say(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
