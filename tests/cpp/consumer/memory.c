/* Prints the resident memory, in KiB, after 20 and after 240 mixed requests: memory BUNDLE [THREADS] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tacoglow.h>

static long resident_kib(void) {
  char line[256];
  long kib = -1;
  FILE* status = fopen("/proc/self/status", "r");
  while (status != NULL && fgets(line, sizeof line, status) != NULL)
    if (strncmp(line, "VmRSS:", 6) == 0) kib = atol(line + 6);
  if (status != NULL) fclose(status);
  return kib;
}

static int ignore(const float* samples, size_t n_samples, void* user) {
  (void)samples;
  (void)n_samples;
  (void)user;
  return 0;
}

/* Alone, streamed or in a batch of up to 5, with 1 to max_tokens tokens and up to max_frames frames. */
static int speak(tacoglow_session* session, const tacoglow_facts* facts, unsigned i) {
  static int32_t ids[5][1024];
  tacoglow_request requests[5];
  const tacoglow_request* pointers[5];
  tacoglow_speech* speeches[5];
  size_t n = 1 + i % 5, k, t;
  tacoglow_status status;
  for (k = 0; k < n; ++k) {
    tacoglow_request_init(&requests[k]);
    requests[k].ids = ids[k];
    requests[k].n_ids = 1 + (size_t)(i * 37 + k * 11) % (size_t)(facts->max_tokens < 1024 ? facts->max_tokens : 1024);
    for (t = 0; t < requests[k].n_ids; ++t) ids[k][t] = 12 + (int32_t)((t * 7 + i + k) % 50);
    requests[k].seed = i;
    requests[k].max_frames = 1 + (int32_t)((i * 53 + k * 29) % (unsigned)(facts->max_frames < 300 ? facts->max_frames : 300));
    requests[k].denoise = i % 3 == 0 ? 0.1 : 0.0;
    pointers[k] = &requests[k];
  }
  if (i % 4 == 1) return tacoglow_stream(session, &requests[0], ignore, NULL, NULL) != TACOGLOW_OK;
  status = tacoglow_speak_batch(session, pointers, n, speeches);
  for (k = 0; k < n; ++k) tacoglow_speech_free(speeches[k]);
  return status != TACOGLOW_OK;
}

int main(int argc, char** argv) {
  tacoglow_open_options options;
  tacoglow_voice* voice;
  tacoglow_session* session;
  unsigned i;
  if (argc < 2) return 2;
  tacoglow_open_options_init(&options);
  options.threads = argc > 2 ? atoi(argv[2]) : 1;
  if (tacoglow_voice_open(argv[1], &options, &voice) || tacoglow_session_open(voice, &session)) {
    fprintf(stderr, "%s\n", tacoglow_last_error());
    return 1;
  }
  for (i = 0; i < 240; ++i) {
    if (speak(session, tacoglow_voice_facts(voice), i)) {
      fprintf(stderr, "%s\n", tacoglow_last_error());
      return 1;
    }
    if (i == 19 || i == 239) printf("%ld\n", resident_kib());
  }
  tacoglow_session_close(session);
  tacoglow_voice_close(voice);
  return 0;
}
