/* Tests tacoglow.h from C: invalid arguments, batches, streams, cancelling, a scheduler, loaders, and a session that
 * outlives its voice's handle.
 *
 *   api BUNDLE WAV      a bundle that accepts text, for the first backend that is built in
 */
#include <stdio.h>
#include <string.h>

#include "tacoglow.h"

#define REQUIRE(condition)                                                                  \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      printf("line %d: %s; last error: %s\n", __LINE__, #condition, tacoglow_last_error()); \
      return 1;                                                                             \
    }                                                                                       \
  } while (0)

static const int32_t ids[] = {45, 42, 49, 49, 52};

static int count_segments(const float* samples, size_t n_samples, void* user) {
  (void)samples;
  (void)n_samples;
  return ++*(int*)user == 2; /* cancels at the second segment */
}

static int check_invalid_arguments(const char* bundle, tacoglow_session* session) {
  tacoglow_open_options options;
  tacoglow_request request;
  tacoglow_voice* voice = (tacoglow_voice*)1;
  tacoglow_speech* speech = (tacoglow_speech*)1;
  size_t n_ids;
  REQUIRE(tacoglow_voice_open(NULL, NULL, &voice) == TACOGLOW_REQUEST && voice == NULL);
  REQUIRE(strcmp(tacoglow_last_error(), "bundle: is NULL") == 0);
  REQUIRE(tacoglow_voice_open(bundle, NULL, NULL) == TACOGLOW_REQUEST);
  tacoglow_open_options_init(&options);
  options.struct_size = 4096;
  REQUIRE(tacoglow_voice_open(bundle, &options, &voice) == TACOGLOW_REQUEST);
  REQUIRE(strstr(tacoglow_last_error(), "struct_size: expected at most") != NULL);
  options.struct_size = offsetof(tacoglow_open_options, backend) + 1; /* half a pointer */
  REQUIRE(tacoglow_voice_open(bundle, &options, &voice) == TACOGLOW_REQUEST);
  REQUIRE(strstr(tacoglow_last_error(), "up to the end of a field, got 9; call") != NULL);
  tacoglow_open_options_init(&options);
  options.backend = "abacus";
  REQUIRE(tacoglow_voice_open(bundle, &options, &voice) == TACOGLOW_BACKEND);
  REQUIRE(tacoglow_voice_open("/nowhere", NULL, &voice) == TACOGLOW_BUNDLE);
  REQUIRE(tacoglow_text_to_ids(NULL, "hi", NULL, 0, &n_ids) == TACOGLOW_REQUEST);
  tacoglow_request_init(&request);
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_REQUEST && speech == NULL);
  REQUIRE(tacoglow_speak(session, NULL, &speech) == TACOGLOW_REQUEST);
  request.struct_size = offsetof(tacoglow_request, max_frames) + 2;
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_REQUEST);
  REQUIRE(strstr(tacoglow_last_error(), "struct_size: expected at most") != NULL);
  request.struct_size = 0;
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_REQUEST);
  REQUIRE(tacoglow_speak(NULL, &request, &speech) == TACOGLOW_REQUEST);
  REQUIRE(tacoglow_stream(session, &request, NULL, NULL, NULL) == TACOGLOW_REQUEST);
  tacoglow_voice_close(NULL);
  tacoglow_session_close(NULL);
  tacoglow_speech_free(NULL);
  REQUIRE(tacoglow_voice_facts(NULL) == NULL);
  return 0;
}

static int check_speech(tacoglow_session* session, int32_t hop_length) {
  tacoglow_request request;
  tacoglow_speech *first, *second;
  int segments = 0;
  tacoglow_request_init(&request);
  request.ids = ids;
  request.n_ids = sizeof ids / sizeof *ids;
  request.gate_threshold = 0.999; /* long enough to be cancelled */
  request.first_segment_frames = request.segment_frames = 2;
  REQUIRE(tacoglow_speak(session, &request, &first) == TACOGLOW_OK);
  REQUIRE(first->n_samples == first->n_frames * (size_t)hop_length && first->decoder_seconds > 0);
  REQUIRE(tacoglow_stream(session, &request, count_segments, &segments, NULL) == TACOGLOW_CANCELLED && segments == 2);
  REQUIRE(strcmp(tacoglow_last_error(), "the callback asked to stop") == 0);
  REQUIRE(tacoglow_speak(session, &request, &second) == TACOGLOW_OK); /* the session remains usable */
  REQUIRE(second->n_samples == first->n_samples);
  REQUIRE(memcmp(first->samples, second->samples, first->n_samples * sizeof(float)) == 0);
  tacoglow_speech_free(first);
  tacoglow_speech_free(second);
  return 0;
}

/* Words are told whole, streamed and by a scheduler; of ids there are only tokens. */
static int check_times(tacoglow_voice* voice, tacoglow_session* session) {
  tacoglow_request request;
  tacoglow_scheduler* scheduler;
  tacoglow_handle* handle;
  tacoglow_speech* speech;
  int way, segments = 10;
  tacoglow_request_init(&request);
  request.text = "[pause 0.1s] One two.";
  request.retries = 0;
  request.trim_silence = 1;
  REQUIRE(tacoglow_scheduler_open(voice, NULL, &scheduler) == TACOGLOW_OK);
  for (way = 0; way < 3; ++way) {
    const tacoglow_utterance* own;
    if (way == 0) REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_OK);
    if (way == 1) REQUIRE(tacoglow_stream(session, &request, count_segments, &segments, &speech) == TACOGLOW_OK);
    if (way == 2) REQUIRE(tacoglow_submit(scheduler, &request, NULL, &handle) == TACOGLOW_OK);
    if (way == 2) REQUIRE(tacoglow_handle_result(handle, &speech) == TACOGLOW_OK);
    if (way == 2) tacoglow_handle_close(handle);
    own = speech->utterances;
    REQUIRE(own->first_sample < 400 && own->n_words == 2 && own->n_ids == 8); /* 20 ms at 16,000 Hz are kept */
    REQUIRE(strcmp(own->words[0].text, "One") == 0 && strcmp(own->words[1].text, "two.") == 0);
    REQUIRE(own->words[0].start_seconds >= 0 && own->words[1].end_seconds >= own->words[0].end_seconds);
    REQUIRE(strcmp(own->tokens[2].text, "e") == 0 && own->tokens[2].end_seconds >= own->tokens[2].start_seconds);
    tacoglow_speech_free(speech);
  }
  tacoglow_scheduler_close(scheduler);
  request.text = NULL;
  request.ids = ids;
  request.n_ids = 1;
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_OK);
  REQUIRE(speech->utterances[0].n_words == 0 && strcmp(speech->utterances[0].tokens[0].text, "h") == 0);
  tacoglow_speech_free(speech);
  return 0;
}

static int stop_at_third(const tacoglow_progress* progress, void* user) {
  (void)progress;
  return ++*(int*)user == 3;
}

static int check_text(const char* wav, tacoglow_voice* voice, tacoglow_session* session) {
  tacoglow_request request;
  tacoglow_speech* speech;
  tacoglow_text* text;
  int calls = 0;
  size_t n_ids, i;
  float sum = 0;
  tacoglow_request_init(&request);
  request.text = "One \xe2\x98\x83 two. Three four, five six seven eight nine ten eleven.";
  REQUIRE(tacoglow_text_prepare(voice, &request, &text) == TACOGLOW_OK);
  REQUIRE(text->n_pieces > 1 && text->pieces[0].pause_seconds > 0.3 && text->pieces[0].n_ids > 3);
  REQUIRE(text->n_dropped == 1 && strcmp(text->dropped[0], "\xe2\x98\x83") == 0);
  tacoglow_text_free(text);
  tacoglow_text_free(NULL);
  request.text = "\xff";
  REQUIRE(tacoglow_text_prepare(voice, &request, &text) == TACOGLOW_REQUEST && text == NULL);
  REQUIRE(strstr(tacoglow_last_error(), "text: byte 0 is not valid UTF-8") != NULL);
  request.text = NULL;
  REQUIRE(tacoglow_text_prepare(voice, &request, &text) == TACOGLOW_REQUEST && text == NULL);
  REQUIRE(tacoglow_text_to_ids(voice, " ", NULL, 0, &n_ids) == TACOGLOW_REQUEST);
  request.text = "One, two. Three four five six seven eight nine ten eleven.";
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_OK && speech->n_utterances > 1);
  REQUIRE(speech->utterances[1].first_sample > (int64_t)speech->utterances[0].n_samples);
  for (i = 0; i < speech->utterances[1].n_ids; ++i) sum += speech->utterances[1].alignment[i];
  REQUIRE(sum > 0.999F && sum < 1.001F && speech->utterances[1].gate[0] > 0 && speech->utterances[1].gate[0] < 1);
  REQUIRE(tacoglow_wav_write(wav, speech->samples, speech->n_samples, 22050, TACOGLOW_WAV_INT16) == TACOGLOW_OK);
  REQUIRE(tacoglow_wav_write("/nowhere/a.wav", speech->samples, 1, 22050, TACOGLOW_WAV_INT16) == TACOGLOW_REQUEST);
  tacoglow_speech_free(speech);
  request.progress = stop_at_third;
  request.progress_user = &calls;
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_CANCELLED && calls == 3 && speech == NULL);
  return 0;
}

/* Compares a batch of three utterances, two of them of equal length, with each alone. */
static int check_batch(tacoglow_session* session) {
  tacoglow_request requests[3], *pointers[3];
  tacoglow_speech *together[3], *alone;
  size_t i, k;
  for (i = 0; i < 3; ++i) {
    tacoglow_request_init(pointers[i] = &requests[i]);
    requests[i].ids = ids;
    requests[i].n_ids = i < 2 ? sizeof ids / sizeof *ids : 2;
    requests[i].seed = i;
    requests[i].retries = 2;
    requests[i].attention_window = i == 1 ? 2 : 0; /* beside a row without a window */
  }
  REQUIRE(tacoglow_speak_batch(session, (const tacoglow_request* const*)pointers, 3, together) == TACOGLOW_OK);
  for (i = 0; i < 3; ++i) {
    REQUIRE(tacoglow_speak(session, &requests[i], &alone) == TACOGLOW_OK);
    REQUIRE(together[i]->n_samples == alone->n_samples && together[i]->stop_reason == alone->stop_reason);
    for (k = 0; k < alone->n_samples; ++k) {
      const float difference = together[i]->samples[k] - alone->samples[k];
      REQUIRE(difference < 2e-4F && difference > -2e-4F);
    }
    tacoglow_speech_free(alone);
    tacoglow_speech_free(together[i]);
  }
  requests[1].n_ids = 0;
  REQUIRE(tacoglow_speak_batch(session, (const tacoglow_request* const*)pointers, 3, together) == TACOGLOW_REQUEST);
  REQUIRE(strstr(tacoglow_last_error(), "request 1: ") == tacoglow_last_error() && together[0] == NULL);
  REQUIRE(tacoglow_speak_batch(session, NULL, 3, together) == TACOGLOW_REQUEST);
  REQUIRE(tacoglow_speak_batch(session, (const tacoglow_request* const*)pointers, 0, together) == TACOGLOW_OK);
  return 0;
}

static int check_stream_defaults(tacoglow_session* session) {
  tacoglow_request request;
  int segments = 0;
  tacoglow_request_init(&request);
  REQUIRE(request.first_segment_frames == 0 && request.segment_frames == 0);
  REQUIRE(request.context_frames == TACOGLOW_BUNDLE_CONTEXT);
  request.ids = ids;
  request.n_ids = sizeof ids / sizeof *ids;
  request.gate_threshold = 0.999; /* long enough for two segments */
  REQUIRE(tacoglow_stream(session, &request, count_segments, &segments, NULL) == TACOGLOW_CANCELLED && segments == 2);
  request.segment_frames = -1;
  REQUIRE(tacoglow_stream(session, &request, count_segments, &segments, NULL) == TACOGLOW_REQUEST);
  REQUIRE(strcmp(tacoglow_last_error(), "segment_frames: expected 1 or more, or 0 for the bundle's, got -1") == 0);
  return 0;
}

/* One frame is too few: the end is missing, whole and streamed, and the words are named. */
static int check_faults(tacoglow_session* session) {
  tacoglow_request request;
  tacoglow_speech* speech;
  int segments = 10, streamed;
  tacoglow_request_init(&request);
  request.text = "One two.";
  request.max_frames = 1;
  for (streamed = 0; streamed < 2; ++streamed) {
    const tacoglow_fault* fault;
    REQUIRE((streamed ? tacoglow_stream(session, &request, count_segments, &segments, &speech)
                      : tacoglow_speak(session, &request, &speech)) == TACOGLOW_OK);
    REQUIRE(speech->fault_reasons == TACOGLOW_FAULT_CUT_OFF && speech->stop_reason == TACOGLOW_STOP_FRAME_LIMIT);
    REQUIRE(strcmp(speech->quality, "cut off: One two.") == 0);
    REQUIRE(strcmp(speech->utterances[0].quality, speech->quality) == 0 && speech->utterances[0].n_faults == 1);
    fault = speech->utterances[0].faults;
    REQUIRE(fault->reason == TACOGLOW_FAULT_CUT_OFF && fault->first_id == 0);
    REQUIRE(fault->n_ids == speech->utterances[0].n_ids && fault->n_words == 2);
    REQUIRE(strcmp(fault->words[0], "One") == 0 && strcmp(fault->words[1], "two.") == 0);
    REQUIRE(speech->n_frames == 1 && (speech->n_samples == 0) == streamed);
    REQUIRE(speech->utterances[0].n_samples > 0 && speech->utterances[0].first_sample == 0);
    tacoglow_speech_free(speech);
  }
  request.max_frames = 0;
  request.gate_threshold = 1e-9; /* the gate fires at the first step: nothing is said */
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_OK);
  REQUIRE(speech->fault_reasons == TACOGLOW_FAULT_CUT_OFF && speech->n_frames == 0);
  tacoglow_speech_free(speech);
  request.gate_threshold = 0;
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_OK);
  REQUIRE(speech->fault_reasons == 0 && strcmp(speech->quality, "good") == 0);
  tacoglow_speech_free(speech);
  speech = (tacoglow_speech*)1;
  segments = 1;
  REQUIRE(tacoglow_stream(session, &request, count_segments, &segments, &speech) == TACOGLOW_CANCELLED);
  REQUIRE(speech == NULL);
  return 0;
}

static int check_retries(tacoglow_session* session) {
  tacoglow_request request;
  tacoglow_speech* speech;
  int segments = 0;
  tacoglow_request_init(&request);
  request.ids = ids;
  request.n_ids = 1;
  REQUIRE(request.retries == -1);
  request.retries = -2;
  REQUIRE(tacoglow_speak(session, &request, &speech) == TACOGLOW_REQUEST);
  request.retries = 1;
  REQUIRE(tacoglow_stream(session, &request, count_segments, &segments, NULL) == TACOGLOW_REQUEST && segments == 0);
  REQUIRE(strstr(tacoglow_last_error(), "retries: a stream cannot take back") != NULL);
  request.struct_size = offsetof(tacoglow_request, retries); /* from a header without retries: the field is not read */
  REQUIRE(tacoglow_stream(session, &request, count_segments, &segments, NULL) != TACOGLOW_REQUEST);
  return 0;
}

/* Reads files of a folder, as a loader may read those of an archive. */
struct folder {
  const char* path;
  int opened, closed, fails; /* fails: 1 if reading does */
};

static void* open_file(const char* name, void* user) {
  struct folder* folder = (struct folder*)user;
  char path[4096];
  FILE* file;
  if (strlen(folder->path) + strlen(name) + 2 > sizeof path) return NULL;
  strcat(strcat(strcpy(path, folder->path), "/"), name);
  file = fopen(path, "rb");
  folder->opened += file != NULL;
  return file;
}

static int64_t read_file(void* file, void* bytes, size_t n_bytes, void* user) {
  if (((struct folder*)user)->fails) return -1;
  return (int64_t)fread(bytes, 1, n_bytes < 1000 ? n_bytes : 1000, (FILE*)file); /* fewer than there are */
}

static void close_file(void* file, void* user) {
  ++((struct folder*)user)->closed;
  fclose((FILE*)file);
}

static void count_message(tacoglow_log_level level, const char* message, void* user) {
  *(int*)user += level >= TACOGLOW_LOG_WARNING && message != NULL;
}

/* Voices that are opened through a loader and from memory speak what the one in a folder does. */
static int check_loader(const char* bundle, tacoglow_session* session) {
  static char memory[7][1 << 22];
  static const char* const names[7] = {"manifest.json", "text_tables.json", "encoder.onnx", "decoder_step.onnx",
                                       "postnet.onnx",  "waveglow.onnx",    "denoiser.onnx"};
  struct folder folder = {NULL, 0, 0, 0};
  tacoglow_loader loader;
  tacoglow_file files[7];
  tacoglow_open_options options;
  tacoglow_request request;
  tacoglow_speech *speech, *expected;
  size_t i, n_files = 0;
  int round, messages = 0;
  folder.path = bundle;
  for (i = 0; i < 7; ++i) {
    FILE* file = (FILE*)open_file(names[i], &folder);
    if (file == NULL) continue;
    files[n_files].name = names[i];
    files[n_files].bytes = memory[n_files];
    files[n_files].n_bytes = fread(memory[n_files], 1, sizeof memory[0], file);
    ++n_files;
    close_file(file, &folder);
  }
  tacoglow_request_init(&request);
  request.ids = ids;
  request.n_ids = sizeof ids / sizeof *ids;
  REQUIRE(tacoglow_speak(session, &request, &expected) == TACOGLOW_OK);
  tacoglow_log_set(count_message, &messages);
  tacoglow_loader_init(&loader);
  loader.open = open_file;
  loader.read = read_file;
  loader.close = close_file;
  loader.user = &folder;
  for (round = 0; round < 2; ++round) {
    tacoglow_voice* own_voice;
    tacoglow_session* own_session;
    tacoglow_open_options_init(&options);
    options.loader = round == 0 ? &loader : NULL;
    options.files = round == 0 ? NULL : files;
    options.n_files = n_files;
    REQUIRE(tacoglow_voice_open("archive", &options, &own_voice) == TACOGLOW_OK);
    REQUIRE(folder.opened == folder.closed && folder.opened > (int)n_files);
    REQUIRE(tacoglow_session_open(own_voice, &own_session) == TACOGLOW_OK);
    REQUIRE(tacoglow_speak(own_session, &request, &speech) == TACOGLOW_OK);
    REQUIRE(speech->n_samples == expected->n_samples);
    REQUIRE(memcmp(speech->samples, expected->samples, speech->n_samples * sizeof(float)) == 0);
    tacoglow_speech_free(speech);
    tacoglow_session_close(own_session);
    tacoglow_voice_close(own_voice);
  }
  tacoglow_speech_free(expected);
  tacoglow_log_set(NULL, NULL);
  {
    tacoglow_voice* own_voice;
    files[1].n_bytes -= 1;
    REQUIRE(tacoglow_voice_open("archive", &options, &own_voice) == TACOGLOW_BUNDLE && own_voice == NULL);
    REQUIRE(strstr(tacoglow_last_error(), "archive/text_tables.json: SHA-256: expected ") == tacoglow_last_error());
    options.n_files = 0;
    REQUIRE(tacoglow_voice_open("archive", &options, &own_voice) == TACOGLOW_BUNDLE);
    REQUIRE(strstr(tacoglow_last_error(), "archive: not a bundle: cannot read manifest.json") == tacoglow_last_error());
    options.loader = &loader;
    REQUIRE(tacoglow_voice_open("archive", &options, &own_voice) == TACOGLOW_REQUEST);
    REQUIRE(strstr(tacoglow_last_error(), "expected either loader or files, got both") != NULL);
    options.files = NULL;
    folder.fails = 1;
    REQUIRE(tacoglow_voice_open("archive", &options, &own_voice) == TACOGLOW_BUNDLE);
    REQUIRE(strstr(tacoglow_last_error(), "archive/manifest.json: the loader cannot read the file") != NULL);
    REQUIRE(folder.opened == folder.closed);
    loader.read = NULL;
    REQUIRE(tacoglow_voice_open("archive", &options, &own_voice) == TACOGLOW_REQUEST);
    REQUIRE(strcmp(tacoglow_last_error(), "loader: open, read or close is NULL") == 0);
  }
  return 0;
}

struct submitter {
  tacoglow_scheduler* scheduler;
  tacoglow_status status;
  int ends;
};

/* Submits from a callback, while its own request is what the scheduler may hold. */
static int submit_another(const float* samples, size_t n_samples, void* user) {
  struct submitter* self = (struct submitter*)user;
  tacoglow_request request;
  tacoglow_handle* handle;
  (void)samples;
  (void)n_samples;
  tacoglow_request_init(&request);
  request.ids = ids;
  request.n_ids = 1;
  self->status = tacoglow_submit(self->scheduler, &request, NULL, &handle);
  return handle != NULL;
}

static void count_end(tacoglow_handle* handle, void* user) {
  tacoglow_speech* speech;
  if (tacoglow_handle_result(handle, &speech) == TACOGLOW_OK) ++((struct submitter*)user)->ends;
  tacoglow_speech_free(speech);
}

static int check_scheduler(tacoglow_voice* voice, tacoglow_session* session) {
  tacoglow_scheduler_options options;
  tacoglow_submission submission;
  tacoglow_request request;
  tacoglow_scheduler* scheduler = (tacoglow_scheduler*)1;
  tacoglow_handle* handle = (tacoglow_handle*)1;
  tacoglow_speech *speech, *alone;
  struct submitter submitter;
  const float* samples;
  size_t n_samples, total = 0;
  REQUIRE(tacoglow_scheduler_open(NULL, NULL, &scheduler) == TACOGLOW_REQUEST && scheduler == NULL);
  tacoglow_scheduler_options_init(&options);
  options.max_rows = -1;
  REQUIRE(tacoglow_scheduler_open(voice, &options, &scheduler) == TACOGLOW_REQUEST && scheduler == NULL);
  REQUIRE(strcmp(tacoglow_last_error(), "max_rows: expected 1 or more, or 0 for the default, got -1") == 0);
  options.max_rows = 2;
  options.profile = "fast";
  REQUIRE(tacoglow_scheduler_open(voice, &options, &scheduler) == TACOGLOW_REQUEST && scheduler == NULL);
  REQUIRE(strcmp(tacoglow_last_error(), "profile: expected latency or throughput, got 'fast'") == 0);
  options.profile = "throughput";
  options.max_backlog = 1;
  REQUIRE(tacoglow_scheduler_open(voice, &options, &scheduler) == TACOGLOW_OK);
  tacoglow_request_init(&request);
  REQUIRE(tacoglow_submit(scheduler, &request, NULL, &handle) == TACOGLOW_REQUEST && handle == NULL);
  request.ids = ids;
  request.n_ids = sizeof ids / sizeof *ids;
  REQUIRE(tacoglow_submit(NULL, &request, NULL, &handle) == TACOGLOW_REQUEST);
  REQUIRE(tacoglow_submit(scheduler, &request, NULL, NULL) == TACOGLOW_REQUEST);
  REQUIRE(tacoglow_submit(scheduler, &request, NULL, &handle) == TACOGLOW_OK); /* the whole, as alone */
  REQUIRE(tacoglow_handle_result(handle, &speech) == TACOGLOW_OK);
  REQUIRE(tacoglow_speak(session, &request, &alone) == TACOGLOW_OK && speech->n_samples == alone->n_samples);
  REQUIRE(memcmp(speech->samples, alone->samples, alone->n_samples * sizeof(float)) == 0);
  REQUIRE(speech->decoder_seconds > 0 && speech->vocoder_seconds > 0);
  tacoglow_speech_free(speech);
  tacoglow_speech_free(alone);
  REQUIRE(tacoglow_handle_result(handle, &speech) == TACOGLOW_REQUEST && speech == NULL);
  REQUIRE(strcmp(tacoglow_last_error(), "result: the speech has been taken before") == 0);
  tacoglow_handle_close(handle);

  tacoglow_submission_init(&submission);
  submission.on_segment = submit_another;
  REQUIRE(tacoglow_submit(scheduler, &request, &submission, &handle) == TACOGLOW_REQUEST); /* not a stream */
  submission.on_segment = NULL;
  submission.stream = 1;
  request.retries = 1;
  REQUIRE(tacoglow_submit(scheduler, &request, &submission, &handle) == TACOGLOW_REQUEST);
  request.retries = -1;
  REQUIRE(tacoglow_submit(scheduler, &request, &submission, &handle) == TACOGLOW_OK);
  for (n_samples = 1; n_samples > 0; total += n_samples)
    REQUIRE(tacoglow_handle_next(handle, &samples, &n_samples) == TACOGLOW_OK);
  REQUIRE(tacoglow_handle_result(handle, &speech) == TACOGLOW_OK && speech->n_samples == 0);
  REQUIRE(speech->utterances[0].n_samples == total && total > 0);
  tacoglow_speech_free(speech);
  tacoglow_handle_close(handle);

  submitter.scheduler = scheduler;
  submitter.ends = 0;
  submission.on_segment = submit_another;
  submission.on_end = count_end;
  submission.user = &submitter;
  REQUIRE(tacoglow_submit(scheduler, &request, &submission, &handle) == TACOGLOW_OK);
  while (tacoglow_handle_next(handle, &samples, &n_samples) == TACOGLOW_OK && n_samples > 0) continue;
  tacoglow_handle_cancel(handle);      /* too late */
  tacoglow_scheduler_close(scheduler); /* after on_end */
  REQUIRE(submitter.status == TACOGLOW_OVERLOADED && submitter.ends == 1);
  tacoglow_handle_close(handle);
  tacoglow_handle_close(NULL);
  tacoglow_handle_cancel(NULL);
  tacoglow_scheduler_close(NULL);
  return 0;
}

int main(int argc, char** argv) {
  tacoglow_voice* voice;
  tacoglow_session* session;
  int32_t hop_length;
  size_t n_ids;
  REQUIRE(argc == 3);
  REQUIRE(strcmp(tacoglow_version(), "0.1.0") == 0);
  REQUIRE(strcmp(tacoglow_last_error(), "") == 0);
  REQUIRE(tacoglow_voice_open(argv[1], NULL, &voice) == TACOGLOW_OK);
  REQUIRE(tacoglow_voice_facts(voice)->takes_text == 1 && tacoglow_voice_facts(voice)->sampling_rate > 0);
  REQUIRE(tacoglow_text_to_ids(voice, "hi", NULL, 0, &n_ids) == TACOGLOW_OK && n_ids == 2);
  hop_length = tacoglow_voice_facts(voice)->hop_length;
  REQUIRE(tacoglow_session_open(voice, &session) == TACOGLOW_OK);
  if (check_text(argv[2], voice, session) || check_scheduler(voice, session) || check_times(voice, session)) return 1;
  tacoglow_voice_close(voice);
  if (check_invalid_arguments(argv[1], session) || check_speech(session, hop_length)) return 1;
  if (check_stream_defaults(session) || check_batch(session) || check_retries(session)) return 1;
  if (check_faults(session) || check_loader(argv[1], session)) return 1;
  tacoglow_session_close(session);
  printf("ok\n");
  return 0;
}
