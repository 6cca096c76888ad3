// What fuzz_api.cpp draws, and what must hold of every answer.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tacoglow.h"

#define REQUIRE(condition)                                                                               \
  do {                                                                                                   \
    if (!(condition)) {                                                                                  \
      std::printf("%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, tacoglow_last_error()); \
      std::fflush(stdout);                                                                               \
      std::_Exit(1); /* from any thread */                                                               \
    }                                                                                                    \
  } while (0)

inline std::mt19937_64 random_numbers;  // of the main thread

inline std::size_t pick(std::size_t size) { return random_numbers() % size; }
inline bool rarely() { return pick(16) == 0; }

template <class Range>
auto pick_from(const Range& range) {
  return range[pick(std::size(range))];
}

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN(),
                 infinity = std::numeric_limits<double>::infinity();
constexpr double doubles[] = {0.0, 0.5, 1.0, 2.0, -1.0, 1e-300, 10.0, 1e308, nan_value, infinity, -infinity};
constexpr std::int32_t integers[] = {0, 1, 2, 7, 100, -1, -2, -3, 1 << 20, INT32_MAX, INT32_MIN};
constexpr const char* texts[] = {
    "Hi.",
    "Hello world. How are you? I am well, thank you, and you; and the others (all of them)?",
    "{HH AH0 L OW1}",
    "[pause 0.1s]",
    "caf\xc3\xa9 \xf0\x9f\x98\x80",
    "<break time='100ms'/>",
    "<prosody rate='fast' volume='+6dB'>now</prosody>",
    "1234567890 $5.50 Dr. No. 12:30"};
constexpr const char* odd_texts[] = {
    "",         " ",    "{HH",         "[pause 11s]", "<say-as interpret-as='date'>2026-11-29</say-as><p>",
    "\xff\xfe", "\xc3", "\xed\xa0\x80"};

inline double a_double() { return pick_from(doubles); }
inline std::int32_t an_integer() { return pick_from(integers); }

inline std::string a_text() {
  std::string text = pick_from(texts);
  for (std::size_t i = pick(3); i > 0; --i) text += rarely() ? pick_from(odd_texts) : pick_from(texts);
  if (rarely()) text = pick_from(odd_texts);
  for (std::size_t i = rarely() ? pick(4) : 0; i > 0 && !text.empty(); --i)
    text[pick(text.size())] = static_cast<char>(random_numbers());
  return text;
}

// A copy of a structure of the caller's, as long as it says to be: the sanitizers notice what is read beyond its end.
template <class Struct>
class Cut {
 public:
  explicit Cut(const Struct& full)
      : bytes_(std::max(sizeof full.struct_size, std::min(full.struct_size, sizeof full))) {
    std::memcpy(bytes_.data(), &full, bytes_.size());
  }
  const Struct* get() const { return reinterpret_cast<const Struct*>(bytes_.data()); }

 private:
  std::vector<unsigned char> bytes_;
};

// A request and what it points to.
struct Request {
  std::string text = a_text(), lexicon;
  std::vector<std::int32_t> ids;
  tacoglow_request request;

  explicit Request(bool takes_text) {
    tacoglow_request_init(&request);
    const std::size_t n_ids = rarely() ? pick(60) : 1 + pick(9);
    while (ids.size() < n_ids)
      ids.push_back(pick(128) == 0 ? an_integer() : static_cast<std::int32_t>(pick(148)));  // of the tests' voice
    if (pick(4) == 0) {
      request.ssml = 1;
      if (!rarely()) text = "<speak>" + text + "</speak>";
    }
    if (takes_text ? pick(2) == 0 : rarely()) request.text = text.c_str();
    if (request.text == nullptr || pick(32) == 0) {
      request.ids = ids.data();
      request.n_ids = ids.size();
    }
    request.seed = random_numbers();
    request.utterance = rarely() ? random_numbers() : pick(3);
    draw_options();
    if (pick(32) == 0) request.struct_size = pick(sizeof request + 100);
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

 private:
  // Short speech, because calls are counted, and now and then any value.
  void draw_options() {
    if (!rarely()) request.max_frames = 1 + static_cast<std::int32_t>(pick(12));
    if (pick(8) == 0) request.retries = static_cast<std::int32_t>(pick(3));
    if (pick(4) == 0) request.rate = 0.5 + 0.25 * static_cast<double>(pick(7));
    if (pick(4) == 0) request.volume = 0.5 * static_cast<double>(pick(9));
    if (pick(8) == 0) request.denoise = 0.1;
    if (pick(8) == 0) request.sentence_silence = 0.1;
    if (pick(8) == 0) request.gate_threshold = 0.9;
    if (pick(4) == 0) request.attention_window = static_cast<std::int32_t>(pick(4));
    if (pick(4) == 0) request.attention_stop = static_cast<std::int32_t>(pick(3)) - 1;
    if (pick(2) == 0) request.first_segment_frames = static_cast<std::int32_t>(pick(4));
    if (pick(2) == 0) request.segment_frames = static_cast<std::int32_t>(pick(6));
    if (pick(4) == 0) request.context_frames = static_cast<std::int32_t>(pick(5)) - 2;
    if (pick(4) == 0) request.trim_silence = 1;
    if (pick(4) == 0) {
      lexicon = a_text() + " = " + a_text();
      request.lexicon = lexicon.c_str();
    }
    for (double* field : {&request.rate, &request.volume, &request.sentence_silence, &request.sigma, &request.denoise,
                          &request.gate_threshold})
      if (pick(128) == 0) *field = a_double();
    for (std::int32_t* field : {&request.max_frames, &request.attention_stop, &request.attention_window,
                                &request.retries, &request.first_segment_frames, &request.segment_frames,
                                &request.context_frames, &request.ssml, &request.trim_silence})
      if (pick(128) == 0) *field = an_integer();
    if (request.retries > 3) request.retries = 3;  // valid, but slow
  }
};

inline bool is_line(const char* text) { return text != nullptr && *text != '\0' && std::strchr(text, '\n') == nullptr; }

// A status as documented, and a message in one line if it is not success.
inline void check(tacoglow_status status, bool has_result) {
  REQUIRE(status >= TACOGLOW_OK && status <= TACOGLOW_OVERLOADED && status != TACOGLOW_INTERNAL);
  REQUIRE((status == TACOGLOW_OK) == has_result);
  REQUIRE(status == TACOGLOW_OK || is_line(tacoglow_last_error()));
}

inline void check_finite(const float* values, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) REQUIRE(std::isfinite(values[i]));
}

inline void check_times(const tacoglow_timed_text* timed, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    REQUIRE(timed[i].text != nullptr && timed[i].start_seconds <= timed[i].end_seconds && timed[i].end_seconds < 1e6);
}

inline std::size_t n_mel_channels;  // of the voices, before anything is spoken

inline void check_utterance(const tacoglow_utterance& own) {
  REQUIRE(own.text != nullptr && own.n_ids > 0 && is_line(own.quality));
  check_finite(own.mel, n_mel_channels * own.n_frames);
  check_finite(own.alignment, own.n_frames * own.n_ids);
  for (std::size_t i = 0; i < own.n_frames; ++i) REQUIRE(own.gate[i] >= 0 && own.gate[i] <= 1);
  check_times(own.words, own.n_words);
  check_times(own.tokens, own.n_ids);
  for (std::size_t i = 0; i < own.n_faults; ++i) {
    const tacoglow_fault& fault = own.faults[i];
    REQUIRE(fault.first_id + fault.n_ids <= own.n_ids);
    for (std::size_t k = 0; k < fault.n_words; ++k) REQUIRE(fault.words[k] != nullptr);
  }
}

inline void check_speech(const tacoglow_speech* speech) {
  check_finite(speech->samples, speech->n_samples);
  REQUIRE(speech->n_utterances > 0 && speech->utterances != nullptr && is_line(speech->quality));
  std::size_t n_frames = 0;
  for (std::size_t i = 0; i < speech->n_utterances; ++i) {
    check_utterance(speech->utterances[i]);
    n_frames += speech->utterances[i].n_frames;
  }
  REQUIRE(n_frames == speech->n_frames);
  check_finite(speech->mel, n_mel_channels * n_frames);
}

inline void check_prepared(const tacoglow_text& text) {
  REQUIRE(text.n_pieces > 0 && text.pause_before_seconds >= 0);
  for (std::size_t i = 0; i < text.n_pieces; ++i) {
    const tacoglow_piece& piece = text.pieces[i];
    REQUIRE(piece.text != nullptr && piece.n_ids > 0 && piece.pause_seconds >= 0 && piece.rate > 0);
    for (std::size_t k = 0; k < piece.n_ids; ++k) REQUIRE(piece.ids[k] >= 0);
  }
  for (std::size_t i = 0; i < text.n_dropped; ++i) REQUIRE(text.dropped[i] != nullptr);
  for (std::size_t i = 0; i < text.n_remarks; ++i) REQUIRE(is_line(text.remarks[i]));
}
