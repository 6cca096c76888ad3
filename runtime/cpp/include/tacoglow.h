/* tacoglow: speak from a bundle, from C or C++, with no Python in the process.
 *
 * A voice is a bundle, opened: its manifest, and its graphs in one engine. A session speaks, one request at a time,
 * with buffers of its own. One voice serves any number of sessions.
 *
 * Threads: a voice may be used from several threads at once; a session by one thread at a time. A session keeps its
 * voice alive, so that they may be closed in either order.
 * Errors: every function that can fail returns a status and leaves a message of one line for the calling thread in
 * tacoglow_last_error(). Nothing throws, exits or prints.
 * Memory: what a function gives out is freed by its own function; strings and arrays of the caller are copied or read
 * during the call only.
 * Growth: structures that the caller fills begin with struct_size, which its _init function sets.
 */
#ifndef TACOGLOW_H
#define TACOGLOW_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define TACOGLOW_API __declspec(dllexport)
#else
#define TACOGLOW_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tacoglow_status {
  TACOGLOW_OK = 0,
  TACOGLOW_BUNDLE = 1,    /* the bundle is missing, incomplete, damaged, or of another format */
  TACOGLOW_ENGINE = 2,    /* the engine is not built in, or cannot load or run a graph */
  TACOGLOW_REQUEST = 3,   /* the voice cannot fulfil this: an argument is out of its range */
  TACOGLOW_CANCELLED = 4, /* the callback asked to stop */
  TACOGLOW_INTERNAL = 5   /* out of memory, or a fault of this library */
} tacoglow_status;

typedef enum tacoglow_stop_reason {
  TACOGLOW_STOP_GATE = 0,       /* the voice ended the utterance */
  TACOGLOW_STOP_FRAME_LIMIT = 1 /* it was cut at max_frames, so its end is missing or is a babble */
} tacoglow_stop_reason;

typedef struct tacoglow_voice tacoglow_voice;
typedef struct tacoglow_session tacoglow_session;

typedef struct tacoglow_open_options {
  size_t struct_size; /* bytes */
  const char* engine; /* "torchscript" or "tensorrt"; NULL: the first of them that is built in */
  int32_t threads;    /* CPU threads of LibTorch, for the whole process; 0: LibTorch's own choice */
  int32_t device;     /* index of the GPU, for TensorRT */
  const char* plans;  /* folder of TensorRT plans, one GRAPH.plan a graph; NULL: engines/ in the bundle */
} tacoglow_open_options;

/* What a voice is. Strings live as long as the voice. */
typedef struct tacoglow_facts {
  const char* name;
  const char* language;   /* such as "en-US", "" where the bundle does not say */
  const char* precision;  /* "fp32", "fp16" or "bf16" */
  const char* engine;     /* which one runs it */
  int32_t sampling_rate;  /* Hz */
  int32_t hop_length;     /* samples a frame */
  int32_t n_mel_channels; /* mel bands */
  int32_t n_symbols;      /* token ids go from 0 to n_symbols - 1 */
  int32_t max_tokens;     /* of one request */
  int32_t max_frames;     /* of one request */
  double gate_threshold;  /* probability above which an utterance ends, by default */
  double sigma;           /* standard deviation of WaveGlow's noise, by default */
  int32_t takes_text;     /* 1: requests may give text; 0: token ids only, from the Python front end */
} tacoglow_facts;

/* For tacoglow_request.context_frames. */
#define TACOGLOW_BUNDLE_CONTEXT (-2)

/* One utterance to speak. tacoglow_request_init sets everything to the bundle's own values, seed 0, and no input. */
typedef struct tacoglow_request {
  size_t struct_size;    /* bytes */
  const char* text;      /* UTF-8, for a voice that takes text; NULL if ids are given */
  const int32_t* ids;    /* token ids; NULL if text is given */
  size_t n_ids;          /* from 1 to max_tokens */
  uint64_t seed;         /* the same seed speaks the same, in every language and on every engine */
  uint64_t utterance;    /* 0; i for piece i of a longer text, so that no two pieces share their noise */
  double sigma;          /* standard deviation of WaveGlow's noise, from 0 up; below 0: the bundle's */
  double denoise;        /* how many times WaveGlow's hum is subtracted, such as 0.01; 0: not at all */
  double gate_threshold; /* probability between 0 and 1; 0: the bundle's */
  int32_t max_frames;    /* frame limit, down to whole decoder steps; 0: the bundle's */
  /* For tacoglow_stream: */
  int32_t first_chunk_frames; /* frames of the first segment: few, for an early first sound; 0: the bundle's */
  int32_t chunk_frames;       /* frames of every later segment; 0: the bundle's */
  int32_t context_frames;     /* mel frames that WaveGlow sees on either side of a segment; TACOGLOW_BUNDLE_CONTEXT: the
                                 bundle's; any other negative number: its whole receptive field */
  /* For tacoglow_speak and tacoglow_speak_batch: */
  int32_t retries; /* how often an utterance that reaches the frame limit is spoken anew, with other noise */
} tacoglow_request;

/* What was said. */
typedef struct tacoglow_speech {
  float* samples;   /* [n_samples], nominally in -1..1, at the voice's sampling rate */
  size_t n_samples; /* n_frames * hop_length */
  float* mel;       /* [n_mel_channels, n_frames], after the postnet */
  size_t n_frames;  /* frames of the decoder steps before the gate fired */
  tacoglow_stop_reason stop_reason;
  double encoder_seconds; /* of computing, for all that was decoded together with it */
  double decoder_seconds;
  double postnet_seconds; /* for itself */
  double vocoder_seconds; /* the denoiser included */
} tacoglow_speech;

/* The message of the last call of this thread that failed; "" before any has. Valid until the thread's next call. */
TACOGLOW_API const char* tacoglow_last_error(void);

TACOGLOW_API void tacoglow_open_options_init(tacoglow_open_options* options);

/* Open a bundle: read and check its manifest, check the SHA-256 of every file that the engine uses, load the graphs.
 * options may be NULL. On failure *voice is NULL. TensorRT plans and TorchScript modules are code: open only bundles
 * that you trust. */
TACOGLOW_API tacoglow_status tacoglow_voice_open(const char* bundle, const tacoglow_open_options* options,
                                                 tacoglow_voice** voice);
TACOGLOW_API void tacoglow_voice_close(tacoglow_voice* voice);
TACOGLOW_API const tacoglow_facts* tacoglow_voice_facts(const tacoglow_voice* voice);

/* Token ids of a text, for a voice that takes text. *n_ids is how many there are; the first `capacity` are written. */
TACOGLOW_API tacoglow_status tacoglow_text_to_ids(const tacoglow_voice* voice, const char* text, int32_t* ids,
                                                  size_t capacity, size_t* n_ids);

TACOGLOW_API tacoglow_status tacoglow_session_open(tacoglow_voice* voice, tacoglow_session** session);
TACOGLOW_API void tacoglow_session_close(tacoglow_session* session);

TACOGLOW_API void tacoglow_request_init(tacoglow_request* request);

/* Speak one utterance. On failure *speech is NULL. */
TACOGLOW_API tacoglow_status tacoglow_speak(tacoglow_session* session, const tacoglow_request* request,
                                            tacoglow_speech** speech);
/* Speak several utterances, those of like length decoded together: each is what tacoglow_speak gives for it, but for
 * rounding. speeches has room for n_requests; on failure, which names the request, all of them are NULL. */
TACOGLOW_API tacoglow_status tacoglow_speak_batch(tacoglow_session* session, const tacoglow_request* const* requests,
                                                  size_t n_requests, tacoglow_speech** speeches);
TACOGLOW_API void tacoglow_speech_free(tacoglow_speech* speech);

/* Called with each chunk of samples, in order, in the thread that called tacoglow_stream; the samples are valid during
 * the call. Returns 0 to go on; anything else ends the speech. It must not throw, nor use the session. */
typedef int (*tacoglow_chunk_callback)(const float* samples, size_t n_samples, void* user);

/* Speak one utterance chunk by chunk, each as soon as the frames that it depends on are decoded. With context_frames
 * below 0 the chunks together are the samples of tacoglow_speak, but for rounding. stop_reason may be NULL. */
TACOGLOW_API tacoglow_status tacoglow_stream(tacoglow_session* session, const tacoglow_request* request,
                                             tacoglow_chunk_callback callback, void* user,
                                             tacoglow_stop_reason* stop_reason);

#ifdef __cplusplus
}
#endif

#endif
