/* tacoglow: speech synthesis from a bundle, for C and C++, without Python in the process.
 *
 * A voice is an open bundle: its manifest and its graphs, loaded by one backend. A backend is the library that runs the
 * graphs: ONNX Runtime, TensorRT or LibTorch. A session runs one request at a time in its own buffers. Any number of
 * sessions can share a voice. A scheduler speaks many requests at once, in threads of its own.
 *
 * Threads: any number of threads may use a voice, a scheduler and a handle at once, but only one thread at a time may
 * use a session. A session, a scheduler and a handle keep their voice alive, and a handle outlives its scheduler, so
 * they may be closed in any order. With TensorRT, a call leaves the voice's GPU as the current one of its thread.
 * Errors: every function that can fail returns a status. On failure, tacoglow_last_error() returns a one-line message
 * for the calling thread. No function throws, exits or prints. Memory: every object that a function returns has its own
 * function to free it. The caller's strings and arrays are copied, or read only during the call. Paths are UTF-8 on
 * Windows, and the system's bytes elsewhere. Compatibility: structures that the caller fills begin with struct_size,
 * which their _init macro sets, so that later versions can append fields; structures that a function returns may grow
 * at their end too. The elements of arrays do neither, because the caller's program has their size compiled in:
 * tacoglow_file, tacoglow_fault, tacoglow_timed_text, tacoglow_utterance and tacoglow_piece. The library's soname
 * contains the major and minor version before 1.0, and the major version from then on. Within one soname, nothing is
 * removed or changed: a program runs with every later library of the same soname. The name of the DLL contains no
 * version, so that Windows does not check this: ship the DLL that the program was built with, or a later one with the
 * same numbers.
 */
#ifndef TACOGLOW_H
#define TACOGLOW_H

#include <stddef.h>
#include <stdint.h>

#define TACOGLOW_VERSION_MAJOR 0
#define TACOGLOW_VERSION_MINOR 1
#define TACOGLOW_VERSION_PATCH 0

#if defined(TACOGLOW_STATIC)
#define TACOGLOW_API
#elif defined(_WIN32) && defined(TACOGLOW_BUILDING)
#define TACOGLOW_API __declspec(dllexport)
#elif defined(_WIN32)
#define TACOGLOW_API __declspec(dllimport)
#else
#define TACOGLOW_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tacoglow_status {
  TACOGLOW_OK = 0,
  TACOGLOW_BUNDLE = 1,        /* the bundle is missing, incomplete, damaged, or has an unsupported format */
  TACOGLOW_BACKEND = 2,       /* the backend is not built in, or cannot load or run a graph */
  TACOGLOW_REQUEST = 3,       /* invalid request: an argument is out of range */
  TACOGLOW_CANCELLED = 4,     /* a callback asked to stop, or a scheduler's request was cancelled */
  TACOGLOW_INTERNAL = 5,      /* a bug in this library */
  TACOGLOW_OUT_OF_MEMORY = 6, /* the system has no memory, or no threads, for it */
  TACOGLOW_OVERLOADED = 7     /* too much work waits for the scheduler: try again later */
} tacoglow_status;

typedef enum tacoglow_stop_reason {
  TACOGLOW_STOP_GATE = 0,         /* the gate fired: the utterance is complete */
  TACOGLOW_STOP_FRAME_LIMIT = 1,  /* cut off at max_frames: the end is missing or is babble */
  TACOGLOW_STOP_ATTENTION_END = 2 /* the attention stayed on the last token: see attention_stop */
} tacoglow_stop_reason;

/* What an utterance's attention and its end show to be wrong; each is one bit. */
typedef enum tacoglow_fault_reason {
  TACOGLOW_FAULT_SKIPPED = 1,  /* words that were not said */
  TACOGLOW_FAULT_REPEATED = 2, /* words that were said again */
  TACOGLOW_FAULT_STUCK = 4,    /* a sound or a pause that does not end */
  TACOGLOW_FAULT_CUT_OFF = 8,  /* words at the end that were not said */
  TACOGLOW_FAULT_BABBLE = 16   /* sounds after the last word, or none that follow the text */
} tacoglow_fault_reason;

typedef struct tacoglow_voice tacoglow_voice;
typedef struct tacoglow_session tacoglow_session;

/* Reads the files of a bundle that is not in a folder, such as one in an archive. Called only during
 * tacoglow_voice_open, for one file at a time, from any thread. The functions must not throw. */
typedef struct tacoglow_loader {
  size_t struct_size;                          /* bytes */
  void* (*open)(const char* name, void* user); /* name: such as "manifest.json". NULL: there is no such file */
  int64_t (*read)(void* file, void* bytes, size_t n_bytes, void* user); /* reads the next bytes, at most n_bytes, and
                                                                           returns how many; 0 at the end of the file;
                                                                           negative if it cannot be read */
  void (*close)(void* file, void* user);
  void* user; /* passed to the functions */
} tacoglow_loader;

/* A file in memory, which is read only during tacoglow_voice_open. */
typedef struct tacoglow_file {
  const char* name; /* such as "manifest.json" */
  const void* bytes;
  size_t n_bytes;
} tacoglow_file;

typedef struct tacoglow_open_options {
  size_t struct_size;  /* bytes */
  const char* backend; /* "onnxruntime", "onnxruntime-cuda", "tensorrt" or "torchscript"; NULL: the first that is built
                          in of tensorrt, onnxruntime and torchscript */
  const char* plans;   /* folder of TensorRT plans, one GRAPH.plan per graph; NULL: engines/ in the bundle */
  const char* compute; /* precision of the decoder with the backend onnxruntime: "fp32", "int8" (the bundle's 8-bit
                          weights, for ONNX Runtime 1.22 or newer), or "auto", which is int8 if the bundle has them;
                          NULL: "fp32" */
  int32_t threads;     /* CPU threads; 0: all cores that the process may use (LibTorch: its own default). ONNX Runtime's
                          are shared by the sessions of a voice, LibTorch's by the process */
  int32_t device;      /* index of the GPU, for TensorRT and ONNX Runtime's CUDA provider */
  const tacoglow_loader* loader; /* what reads the bundle's files; NULL: they are in a folder, or in `files` */
  const tacoglow_file* files;    /* [n_files]: the bundle's files, in memory; NULL: they are not */
  size_t n_files;
} tacoglow_open_options;

/* Properties of a voice. Strings live as long as the voice. */
typedef struct tacoglow_facts {
  const char* name;
  const char* language;   /* such as "en-US"; "" if the bundle has none */
  const char* precision;  /* "fp32", "fp16" or "bf16" */
  const char* backend;    /* as in tacoglow_open_options */
  const char* decoder;    /* which of the backend's decoders runs, and why; "" if it has only one */
  int32_t sampling_rate;  /* Hz */
  int32_t hop_length;     /* samples per frame */
  int32_t n_mel_channels; /* mel bands */
  int32_t n_symbols;      /* token ids are in 0 .. n_symbols - 1 */
  int32_t max_tokens;     /* most tokens per request */
  int32_t max_frames;     /* most frames per request */
  int32_t takes_text;     /* 1: requests may contain text; 0: only token ids */
  double gate_threshold;  /* default gate probability above which an utterance ends */
  double sigma;           /* default standard deviation of WaveGlow's noise */
} tacoglow_facts;

/* State of a request, for tacoglow_progress_callback. */
typedef struct tacoglow_progress {
  size_t utterance;      /* index of the piece of the text; 0 for ids */
  size_t n_utterances;   /* pieces of the text */
  size_t frames_decoded; /* of this piece */
  size_t frames_vocoded; /* of this piece, after stretching */
} tacoglow_progress;

/* Called after each chunk of decoder steps, and before each vocoder window, or after each segment of a scheduler's
 * stream; in the thread of the call, or in the scheduler's. Return 0 to continue; any other value cancels the request,
 * and all others of its batch. It must not throw or use the session. */
typedef int (*tacoglow_progress_callback)(const tacoglow_progress* progress, void* user);

/* Value of tacoglow_request.context_frames: the bundle's own context. */
#define TACOGLOW_BUNDLE_CONTEXT (-2)

/* One request: a text, or one utterance of token ids. tacoglow_request_init sets every field to its default: the
 * bundle's values, seed 0, and no input. */
typedef struct tacoglow_request {
  size_t struct_size; /* bytes */

  /* Input: text or ids */
  const char* text;    /* UTF-8, for a voice that accepts text; NULL if ids are given. A text of more than max_tokens
                          tokens is split into sentences, clauses or words, and joined with pauses. Marks such as
                          [pause 0.5s] and [pause 500ms], of up to 10 seconds each, are silence */
  const char* lexicon; /* words of this text, and how they are said, in UTF-8: lines such as "Nguyen = win" and
                         "New York = {N UW1 Y AO1 R K}"; they come before the voice's own. NULL: none */
  int32_t ssml;       /* 1: text is an SSML document, <speak>…</speak>; marks such as [pause 0.5s] mean nothing in it */
  const int32_t* ids; /* token ids; NULL if text is given */
  size_t n_ids;       /* 1 to max_tokens */

  /* Noise */
  uint64_t seed;      /* the same seed gives the same speech from C, C++ and Python and on every backend */
  uint64_t utterance; /* 0, or i for piece i of a longer text, so that every piece gets its own noise; piece i of a
                         text that this library splits gets utterance + i */

  /* Speech */
  double rate;              /* speaking rate, 0.5 to 2: 2 is twice as fast, at the same pitch */
  double volume;            /* factor of the samples, 0 to 4: 0.5 is 6 dB quieter */
  int32_t trim_silence;     /* 1: the silence at both ends of the speech is left out, but for 20 ms */
  double sentence_silence;  /* seconds of silence between sentences, 0 to 10; every sentence is then spoken by itself.
                               Negative: a text is split only if it exceeds max_tokens, with pauses by punctuation */
  double sigma;             /* standard deviation of WaveGlow's noise, 0 to 10; negative: the bundle's */
  double denoise;           /* denoiser strength, such as 0.01, at most 10; 0: off */
  double gate_threshold;    /* gate probability that ends an utterance, between 0 and 1; 0: the bundle's */
  int32_t max_frames;       /* frame limit, rounded down to whole decoder steps; 0: the bundle's */
  int32_t attention_stop;   /* 1: an utterance also ends when the attention stays on the last token, or when it is far
                               longer than the voice's sentences; -1: it does not; 0: if they were measured at export */
  int32_t attention_window; /* tokens ahead of the furthest one so far that the attention may see, so that it cannot
                               jump; 0: all */
  int32_t retries; /* how often an utterance with a fault is decoded again, with new noise, 0 to 100; the best try
                      is kept. -1: 2, for a voice whose sentences were measured at export. tacoglow_stream takes
                      none */

  /* Segments, for tacoglow_stream; their frames are counted at the speaking rate */
  int32_t first_segment_frames; /* frames of the first segment: few, so that playback starts early; 0: the bundle's */
  int32_t segment_frames;       /* frames that later segments grow to, by doubling; 0: the bundle's */
  int32_t context_frames;       /* mel frames that the vocoder sees on either side of a segment, at most its receptive
                                   field; TACOGLOW_BUNDLE_CONTEXT: the bundle's; any other negative number: the whole
                                   receptive field */

  /* Progress, for tacoglow_speak, tacoglow_speak_batch and tacoglow_submit; tacoglow_stream has its own callback */
  tacoglow_progress_callback progress; /* NULL: none */
  void* progress_user;                 /* passed to progress */
} tacoglow_request;

/* One fault of an utterance. */
typedef struct tacoglow_fault {
  tacoglow_fault_reason reason;
  size_t first_id;          /* the tokens concerned: ids[first_id] to ids[first_id + n_ids - 1] */
  size_t n_ids;             /* 0 for sounds after the last word */
  const char* const* words; /* [n_words]: those concerned, as they are written, in UTF-8 */
  size_t n_words;           /* 0 for sounds after the last word, and for an utterance of ids */
} tacoglow_fault;

/* A word, or a character or phone, and when it is spoken. */
typedef struct tacoglow_timed_text {
  const char* text;     /* UTF-8 */
  double start_seconds; /* in tacoglow_speech.samples, or in a stream */
  double end_seconds;
} tacoglow_timed_text;

/* One piece of a text, or the utterance of given ids. */
typedef struct tacoglow_utterance {
  const char* text;   /* UTF-8; "" for ids */
  const int32_t* ids; /* [n_ids] */
  size_t n_ids;
  size_t n_frames;
  const float* mel;       /* [n_mel_channels, n_frames], after the postnet */
  const float* alignment; /* [n_frames, n_ids]: how much a frame attends to each token */
  const float* gate;      /* [n_frames]: the probability that the utterance has ended */
  tacoglow_stop_reason stop_reason;
  const tacoglow_fault* faults; /* [n_faults], in the order of their tokens; of a voice whose sentences could not be
                                   measured at export, only its end is judged */
  size_t n_faults;
  const char* quality;  /* its faults in one line, such as "skipped: brown fox; babble"; "good" without any */
  int64_t first_sample; /* where its samples begin in tacoglow_speech.samples, or in a stream; below 0 if trim_silence
                           has left out that many of them */
  size_t n_samples;     /* n_frames / rate, rounded half up, times hop_length; with those that trim_silence left out */
  const tacoglow_timed_text* words; /* [n_words], each word of the text once, in order, as it is written; none of ids */
  size_t n_words;
  const tacoglow_timed_text* tokens; /* [n_ids]: the character or phone of each token */
} tacoglow_utterance;

/* The result of one request. */
typedef struct tacoglow_speech {
  float* samples;   /* [n_samples], nominally in [-1, 1], at the voice's sampling rate */
  size_t n_samples; /* of all utterances, plus the pauses */
  float* mel;       /* [n_mel_channels, n_frames], after the postnet; of all pieces, one after the other */
  size_t n_frames;  /* frames of the decoder steps before the gate fired */
  tacoglow_stop_reason stop_reason; /* of the first piece that did not end at its gate, if there is one */
  uint32_t fault_reasons;           /* bits of tacoglow_fault_reason, of all utterances; 0: the text was said */
  const char* quality;              /* the faults of all utterances in one line; "good" without any */
  double encoder_seconds;           /* for the whole batch that it was decoded in; decoder_seconds likewise */
  double decoder_seconds;
  double postnet_seconds;               /* for this utterance alone; vocoder_seconds likewise */
  double vocoder_seconds;               /* includes the denoiser */
  const tacoglow_utterance* utterances; /* [n_utterances] */
  size_t n_utterances;                  /* 1, or the pieces of a long text */
} tacoglow_speech;

/* Returns the message of this thread's last failed call, or "" if none has failed. Valid until the thread's next
 * call. */
TACOGLOW_API const char* tacoglow_last_error(void);

/* Returns the version of the library, such as "0.1.0"; the macros above are the header's. */
TACOGLOW_API const char* tacoglow_version(void);

typedef enum tacoglow_log_level { TACOGLOW_LOG_WARNING = 1, TACOGLOW_LOG_ERROR = 2 } tacoglow_log_level;

/* Receives messages of ONNX Runtime and TensorRT, which may have several lines. Called from any thread, several at
 * once. It must not throw or call this library. */
typedef void (*tacoglow_log_callback)(tacoglow_log_level level, const char* message, void* user);

/* Set the callback of the whole process; NULL, as at the start: their messages are dropped, because every failure is a
 * status too. The callback before it no longer runs afterwards. LibTorch writes to standard error by itself. */
TACOGLOW_API void tacoglow_log_set(tacoglow_log_callback callback, void* user);

/* Sets every field to its default. size: the structure's size in the caller's header. */
TACOGLOW_API void tacoglow_open_options_init_sized(tacoglow_open_options* options, size_t size);
#define tacoglow_open_options_init(options) tacoglow_open_options_init_sized((options), sizeof(tacoglow_open_options))
TACOGLOW_API void tacoglow_loader_init_sized(tacoglow_loader* loader, size_t size);
#define tacoglow_loader_init(loader) tacoglow_loader_init_sized((loader), sizeof(tacoglow_loader))

/* Open a bundle: read and check its manifest, and load its graphs. bundle: its folder; with a loader or files in
 * memory, its name in messages. TensorRT plans are always read from a folder. ONNX graphs and TorchScript modules are
 * checked against the SHA-256 in the manifest; ONNX graphs and TensorRT plans, against its tensors. options may be
 * NULL. On failure *voice is NULL. TensorRT plans and TorchScript modules are code: load only those that you trust. The
 * first voice on ONNX Runtime sets ORT_DISABLE_TELEMETRY=1 in the process's environment, unless the variable is set. */
TACOGLOW_API tacoglow_status tacoglow_voice_open(const char* bundle, const tacoglow_open_options* options,
                                                 tacoglow_voice** voice);
TACOGLOW_API void tacoglow_voice_close(tacoglow_voice* voice);
TACOGLOW_API const tacoglow_facts* tacoglow_voice_facts(const tacoglow_voice* voice);

/* Convert a text to token ids, in one piece, for a voice that accepts text. *n_ids is set to the number of ids; the
 * first `capacity` of them are written to ids. */
TACOGLOW_API tacoglow_status tacoglow_text_to_ids(const tacoglow_voice* voice, const char* text, int32_t* ids,
                                                  size_t capacity, size_t* n_ids);

/* A text as it would be spoken: its pieces, and what of it has no symbol in the voice. */
typedef struct tacoglow_piece {
  const char* text;     /* UTF-8 */
  const int32_t* ids;   /* [n_ids] */
  size_t n_ids;         /* 1 to max_tokens */
  double pause_seconds; /* silence after it */
  double rate;          /* times the request's, as SSML asks; 1 otherwise */
  double volume;        /* likewise */
} tacoglow_piece;
typedef struct tacoglow_text {
  const tacoglow_piece* pieces; /* [n_pieces] */
  size_t n_pieces;              /* at least 1 */
  const char* const* dropped;   /* [n_dropped]: each character, or phone in braces, that is not spoken, in UTF-8 */
  size_t n_dropped;
  double pause_before_seconds; /* silence before the first piece */
  const char* const* remarks;  /* [n_remarks]: a line each, for people, about what is not spoken as the text asks */
  size_t n_remarks;
} tacoglow_text;

/* Split a request's text and convert it to token ids as tacoglow_speak does, for a voice that accepts text. Only the
 * fields text, lexicon, ssml and sentence_silence matter. On failure *prepared is NULL. */
TACOGLOW_API tacoglow_status tacoglow_text_prepare(const tacoglow_voice* voice, const tacoglow_request* request,
                                                   tacoglow_text** prepared);
TACOGLOW_API void tacoglow_text_free(tacoglow_text* prepared);

TACOGLOW_API tacoglow_status tacoglow_session_open(tacoglow_voice* voice, tacoglow_session** session);
TACOGLOW_API void tacoglow_session_close(tacoglow_session* session);

/* Sets every field to its default. size: the structure's size in the caller's header. */
TACOGLOW_API void tacoglow_request_init_sized(tacoglow_request* request, size_t size);
#define tacoglow_request_init(request) tacoglow_request_init_sized((request), sizeof(tacoglow_request))

/* Synthesize one request. On failure *speech is NULL. */
TACOGLOW_API tacoglow_status tacoglow_speak(tacoglow_session* session, const tacoglow_request* request,
                                            tacoglow_speech** speech);
/* Synthesize several requests; utterances of similar length are decoded together. Each result equals that of
 * tacoglow_speak, up to rounding. speeches points to n_requests pointers; on failure all of them are NULL. The
 * message begins with the request's index, unless the decoder failed, which runs several requests together. */
TACOGLOW_API tacoglow_status tacoglow_speak_batch(tacoglow_session* session, const tacoglow_request* const* requests,
                                                  size_t n_requests, tacoglow_speech** speeches);
TACOGLOW_API void tacoglow_speech_free(tacoglow_speech* speech);

/* Called with each segment of samples, in order, in the thread that called tacoglow_stream; the samples are valid only
 * during the call. Return 0 to continue; any other value cancels the request. The callback must not throw or use the
 * session. */
typedef int (*tacoglow_segment_callback)(const float* samples, size_t n_samples, void* user);

/* Synthesize one request in segments, each as soon as the frames that it depends on are decoded. If context_frames
 * covers the vocoder's receptive field, the segments together equal the samples of tacoglow_speak, up to rounding.
 * speech: receives everything but the samples and the times when the stream has ended; NULL if it is not wanted. On
 * failure *speech is NULL. */
TACOGLOW_API tacoglow_status tacoglow_stream(tacoglow_session* session, const tacoglow_request* request,
                                             tacoglow_segment_callback callback, void* user, tacoglow_speech** speech);

/* Many requests at once. Their decoder steps are run together where the backend's results do not depend on it, and
 * otherwise side by side; each request's samples are, bit for bit, those that it has alone. First
 * segments of streams come first, then the listener who would run dry soonest, and clients share the voice in equal
 * parts. A stream whose segments nobody takes rests. */
typedef struct tacoglow_scheduler tacoglow_scheduler;
typedef struct tacoglow_handle tacoglow_handle;

typedef struct tacoglow_scheduler_options {
  size_t struct_size;  /* bytes */
  int32_t max_rows;    /* utterances that are decoded together, at most the bundle's batch limit; 0: the profile's */
  int32_t lanes;       /* vocoder windows at once on a CPU, up to 256; 0: the cores divided by the voice's threads. One
                          more is for urgent ones. A voice for a scheduler is best opened with threads = 1 */
  int64_t max_backlog; /* tokens that may wait to be spoken; 0: 420,000. A client may have as many of them as are left
                          free; an idle scheduler accepts any request */
  const char* profile; /* NULL or "latency": at most 8 utterances are decoded together, and new ones join them soon;
                          "throughput": up to the bundle's batch limit, on a GPU in longer chunks of decoder steps */
} tacoglow_scheduler_options;

/* Called in a thread of the scheduler, once, when the request has ended: tacoglow_handle_result does not wait then. It
 * may close the handle. It must not throw. */
typedef void (*tacoglow_end_callback)(tacoglow_handle* handle, void* user);

/* How a request is accepted. Callbacks are called one at a time, in a thread that all requests wait for: they must not
 * block or throw. They may submit, cancel, and close handles and the scheduler. */
typedef struct tacoglow_submission {
  size_t struct_size;                   /* bytes */
  const char* client;                   /* whose request it is; NULL: "" */
  int32_t stream;                       /* 1: as tacoglow_stream; 0: as tacoglow_speak */
  tacoglow_segment_callback on_segment; /* for a stream; NULL: segments wait for tacoglow_handle_next */
  tacoglow_end_callback on_end;         /* NULL: none */
  void* user;                           /* passed to the callbacks */
} tacoglow_submission;

/* Sets every field to its default. size: the structure's size in the caller's header. */
TACOGLOW_API void tacoglow_scheduler_options_init_sized(tacoglow_scheduler_options* options, size_t size);
#define tacoglow_scheduler_options_init(options) \
  tacoglow_scheduler_options_init_sized((options), sizeof(tacoglow_scheduler_options))
TACOGLOW_API void tacoglow_submission_init_sized(tacoglow_submission* submission, size_t size);
#define tacoglow_submission_init(submission) tacoglow_submission_init_sized((submission), sizeof(tacoglow_submission))

/* Start a scheduler. options may be NULL. On failure *scheduler is NULL. */
TACOGLOW_API tacoglow_status tacoglow_scheduler_open(tacoglow_voice* voice, const tacoglow_scheduler_options* options,
                                                     tacoglow_scheduler** scheduler);
/* Cancel all requests, and wait until they have ended, except in a callback. No callback runs afterwards, except the
 * one that it is called in and on_end of the requests that it cancels. Closed in a callback, the scheduler's threads
 * end by themselves some time after the last on_end, and nothing tells when: a program that returns from main, calls
 * exit or unloads the library must close its schedulers outside of callbacks before. */
TACOGLOW_API void tacoglow_scheduler_close(tacoglow_scheduler* scheduler);

/* Accept a request; its speech is not waited for. The request's progress callback is called as the other ones are; on
 * a CPU, the vocoder does not wait for it. submission may be NULL: the whole, without callbacks. A text may ask for 120
 * seconds of silence in all, because silence costs memory but no computation; pauses of up to 0.7 seconds, the longest
 * of punctuation, do not count. On failure *handle is NULL; close it in any other case. In a callback while
 * tacoglow_scheduler_close waits, it fails with TACOGLOW_CANCELLED. In a process that was forked from the scheduler's,
 * where its threads are not, this function, tacoglow_handle_next and tacoglow_handle_result fail with
 * TACOGLOW_REQUEST. */
TACOGLOW_API tacoglow_status tacoglow_submit(tacoglow_scheduler* scheduler, const tacoglow_request* request,
                                             const tacoglow_submission* submission, tacoglow_handle** handle);

/* Wait for the next segment of a stream; *n_samples is 0 if there are no more. The samples are valid until the next
 * call for this handle, and only one thread at a time may wait for segments. Returns why the request has failed. */
TACOGLOW_API tacoglow_status tacoglow_handle_next(tacoglow_handle* handle, const float** samples, size_t* n_samples);
/* Wait for the complete speech, as of tacoglow_speak or tacoglow_stream; its decoder_seconds are the request's part. It
 * can be taken once. On failure, the request's own included, *speech is NULL. */
TACOGLOW_API tacoglow_status tacoglow_handle_result(tacoglow_handle* handle, tacoglow_speech** speech);
/* End a request, unless it has ended; its status is then TACOGLOW_CANCELLED. */
TACOGLOW_API void tacoglow_handle_cancel(tacoglow_handle* handle);
/* Cancel a request, unless it has ended, and free the handle. No callback of the request runs afterwards, except one
 * that this is called in; one that runs in a different thread is waited for. */
TACOGLOW_API void tacoglow_handle_close(tacoglow_handle* handle);

typedef enum tacoglow_wav_format { TACOGLOW_WAV_INT16 = 0, TACOGLOW_WAV_FLOAT32 = 1 } tacoglow_wav_format;

/* Write samples that are nominally in [-1, 1] to a mono wav file; int16 clips the others, and makes NaN silence. The
 * file appears complete or not at all, also if several threads write it. A device or a pipe is written in place. */
TACOGLOW_API tacoglow_status tacoglow_wav_write(const char* path, const float* samples, size_t n_samples,
                                                int32_t sampling_rate, tacoglow_wav_format format);

#ifdef __cplusplus
}
#endif

#endif
