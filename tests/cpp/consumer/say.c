/* Text in, wav out: say BUNDLE TEXT WAV */
#include <stdio.h>
#include <tacoglow.h>

int main(int argc, char** argv) {
  tacoglow_open_options options;
  tacoglow_request request;
  tacoglow_voice* voice = NULL;
  tacoglow_session* session = NULL;
  tacoglow_speech* speech = NULL;
  int failed = 1;
  if (argc != 4) return 2;
  tacoglow_open_options_init(&options);
  options.threads = 1;
  tacoglow_request_init(&request);
  request.text = argv[2];
  request.seed = 5;
  if (tacoglow_voice_open(argv[1], &options, &voice) == TACOGLOW_OK &&
      tacoglow_session_open(voice, &session) == TACOGLOW_OK &&
      tacoglow_speak(session, &request, &speech) == TACOGLOW_OK &&
      tacoglow_wav_write(argv[3], speech->samples, speech->n_samples, tacoglow_voice_facts(voice)->sampling_rate,
                         TACOGLOW_WAV_FLOAT32) == TACOGLOW_OK)
    failed = 0;
  else
    fprintf(stderr, "%s\n", tacoglow_last_error());
  tacoglow_speech_free(speech);
  tacoglow_session_close(session);
  tacoglow_voice_close(voice);
  return failed;
}
