/* tacoglow: speech synthesis from a bundle, for C and C++, without Python in the process.
 *
 * A voice is an open bundle: its manifest and its graphs, loaded by one engine. A session runs one request at a time
 * in its own buffers. Any number of sessions can share a voice. An engine, in this header, is the library that runs the
 * graphs: TensorRT or LibTorch.
 *
 * Threads: any number of threads may use a voice at once, but only one thread at a time may use a session. A session
 * keeps its voice alive, so the two may be closed in either order.
 * Errors: every function that can fail returns a status. On failure, tacoglow_last_error() returns a one-line message
 * for the calling thread. No function throws, exits or prints.
 * Memory: every object that a function returns has its own function to free it. The caller's strings and arrays are
 * copied, or read only during the call.
 * Compatibility: structures that the caller fills begin with struct_size, which their _init function sets, so that
 * later versions can append fields.
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
  TACOGLOW_BUNDLE = 1,    /* the bundle is missing, incomplete, damaged, or has an unsupported format */
  TACOGLOW_ENGINE = 2,    /* the engine is not built in, or cannot load or run a graph */
  TACOGLOW_REQUEST = 3,   /* invalid request: an argument is out of range */
  TACOGLOW_CANCELLED = 4, /* the callback asked to stop */
  TACOGLOW_INTERNAL = 5   /* out of memory, or a bug in this library */
} tacoglow_status;

typedef enum tacoglow_stop_reason {
  TACOGLOW_STOP_GATE = 0,       /* the gate fired: the utterance is complete */
  TACOGLOW_STOP_FRAME_LIMIT = 1 /* cut off at max_frames: the end is missing or is babble */
} tacoglow_stop_reason;

typedef struct tacoglow_voice tacoglow_voice;
typedef struct tacoglow_session tacoglow_session;

typedef struct tacoglow_open_options {
  size_t struct_size; /* bytes */
  const char* engine; /* "torchscript" or "tensorrt"; NULL: the first that is built in, tensorrt before torchscript */
  int32_t threads;    /* LibTorch's CPU threads, for the whole process; 0: LibTorch's default */
  int32_t device;     /* index of the GPU, for TensorRT */
  const char* plans;  /* folder of TensorRT plans, one GRAPH.plan per graph; NULL: engines/ in the bundle */
} tacoglow_open_options;

/* Properties of a voice. Strings live as long as the voice. */
typedef struct tacoglow_facts {
  const char* name;
  const char* language;   /* such as "en-US"; "" if the bundle has none */
  const char* precision;  /* "fp32", "fp16" or "bf16" */
  const char* engine;     /* "torchscript" or "tensorrt" */
  int32_t sampling_rate;  /* Hz */
  int32_t hop_length;     /* samples per frame */
  int32_t n_mel_channels; /* mel bands */
  int32_t n_symbols;      /* token ids are in 0 .. n_symbols - 1 */
  int32_t max_tokens;     /* most tokens per request */
  int32_t max_frames;     /* most frames per request */
  double gate_threshold;  /* default gate probability above which an utterance ends */
  double sigma;           /* default standard deviation of WaveGlow's noise */
  int32_t takes_text;     /* 1: requests may contain text; 0: only token ids, from the Python front end */
} tacoglow_facts;

/* Value of tacoglow_request.context_frames: the bundle's own context. */
#define TACOGLOW_BUNDLE_CONTEXT (-2)

/* One utterance. tacoglow_request_init sets every field to the bundle's default, the seed to 0, and no input. */
typedef struct tacoglow_request {
  size_t struct_size;    /* bytes */
  const char* text;      /* UTF-8, for a voice that accepts text; NULL if ids are given */
  const int32_t* ids;    /* token ids; NULL if text is given */
  size_t n_ids;          /* 1 to max_tokens */
  uint64_t seed;         /* the same seed gives the same speech from C, C++ and Python and on every engine */
  uint64_t utterance;    /* 0, or i for piece i of a longer text, so that every piece gets its own noise */
  double sigma;          /* standard deviation of WaveGlow's noise, >= 0; negative: the bundle's */
  double denoise;        /* denoiser strength, such as 0.01; 0: off */
  double gate_threshold; /* gate probability that ends an utterance, between 0 and 1; 0: the bundle's */
  int32_t max_frames;    /* frame limit, rounded down to whole decoder steps; 0: the bundle's */
  /* For tacoglow_stream: */
  int32_t first_chunk_frames; /* frames of the first segment: few, so that playback starts early; 0: the bundle's */
  int32_t chunk_frames;       /* frames of every later segment; 0: the bundle's */
  int32_t context_frames;     /* mel frames that WaveGlow sees on either side of a segment, at most its receptive field;
                                 TACOGLOW_BUNDLE_CONTEXT: the bundle's; any other negative number: all of its
                                 receptive field */
  /* For tacoglow_speak and tacoglow_speak_batch: */
  int32_t retries; /* how often an utterance that reaches the frame limit is decoded again, with new noise */
} tacoglow_request;

/* The result of one request. */
typedef struct tacoglow_speech {
  float* samples;   /* [n_samples], nominally in [-1, 1], at the voice's sampling rate */
  size_t n_samples; /* n_frames * hop_length */
  float* mel;       /* [n_mel_channels, n_frames], after the postnet */
  size_t n_frames;  /* frames of the decoder steps before the gate fired */
  tacoglow_stop_reason stop_reason;
  double encoder_seconds; /* for the whole batch that it was decoded in; decoder_seconds likewise */
  double decoder_seconds;
  double postnet_seconds; /* for this utterance alone; vocoder_seconds likewise */
  double vocoder_seconds; /* includes the denoiser */
} tacoglow_speech;

/* Returns the message of this thread's last failed call, or "" if none has failed. Valid until the thread's next
 * call. */
TACOGLOW_API const char* tacoglow_last_error(void);

TACOGLOW_API void tacoglow_open_options_init(tacoglow_open_options* options);

/* Open a bundle: read and check its manifest, and load its graphs. TorchScript modules are checked against the SHA-256
 * in the manifest; TensorRT plans, against its tensors. options may be NULL. On failure *voice is NULL. TensorRT plans
 * and TorchScript modules are code: load only those that you trust. */
TACOGLOW_API tacoglow_status tacoglow_voice_open(const char* bundle, const tacoglow_open_options* options,
                                                 tacoglow_voice** voice);
TACOGLOW_API void tacoglow_voice_close(tacoglow_voice* voice);
TACOGLOW_API const tacoglow_facts* tacoglow_voice_facts(const tacoglow_voice* voice);

/* Convert a text to token ids, for a voice that accepts text. *n_ids is set to the number of ids; the first `capacity`
 * of them are written to ids. */
TACOGLOW_API tacoglow_status tacoglow_text_to_ids(const tacoglow_voice* voice, const char* text, int32_t* ids,
                                                  size_t capacity, size_t* n_ids);

TACOGLOW_API tacoglow_status tacoglow_session_open(tacoglow_voice* voice, tacoglow_session** session);
TACOGLOW_API void tacoglow_session_close(tacoglow_session* session);

TACOGLOW_API void tacoglow_request_init(tacoglow_request* request);

/* Synthesize one utterance. On failure *speech is NULL. */
TACOGLOW_API tacoglow_status tacoglow_speak(tacoglow_session* session, const tacoglow_request* request,
                                            tacoglow_speech** speech);
/* Synthesize several utterances; those of similar length are decoded together. Each result equals that of
 * tacoglow_speak, up to rounding. speeches points to n_requests pointers; on failure all of them are NULL, and the
 * message names an invalid request by its index. */
TACOGLOW_API tacoglow_status tacoglow_speak_batch(tacoglow_session* session, const tacoglow_request* const* requests,
                                                  size_t n_requests, tacoglow_speech** speeches);
TACOGLOW_API void tacoglow_speech_free(tacoglow_speech* speech);

/* Called with each segment of samples, in order, in the thread that called tacoglow_stream; the samples are valid only
 * during the call. Return 0 to continue; any other value cancels the request. The callback must not throw or use the
 * session. */
typedef int (*tacoglow_chunk_callback)(const float* samples, size_t n_samples, void* user);

/* Synthesize one utterance in segments, each as soon as the frames that it depends on are decoded. If context_frames
 * covers WaveGlow's receptive field, the segments together equal the samples of tacoglow_speak, up to rounding.
 * stop_reason may be NULL. */
TACOGLOW_API tacoglow_status tacoglow_stream(tacoglow_session* session, const tacoglow_request* request,
                                             tacoglow_chunk_callback callback, void* user,
                                             tacoglow_stop_reason* stop_reason);

#ifdef __cplusplus
}
#endif

#endif
