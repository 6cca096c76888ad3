// Fuzzes tacoglow.h with sequences of calls: every call must return a status and a message, and leave results alone or
// NULL when it fails; objects are closed in any order.
//
//   fuzz_api SECONDS SEED BUNDLE FOLDER     prints the number of calls; writes wav files into FOLDER

#include <chrono>
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

#define REQUIRE(condition)                                                                       \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      std::printf("line %d: %s; last error: %s\n", __LINE__, #condition, tacoglow_last_error()); \
      std::exit(1);                                                                              \
    }                                                                                            \
  } while (0)

namespace {

std::mt19937_64 random_numbers;

std::size_t pick(std::size_t size) { return random_numbers() % size; }
bool rarely() { return pick(16) == 0; }

constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
constexpr double doubles[] = {0.0, 0.5, 1.0, 2.0, -1.0, 1e-300, 10.0, 1e308, nan, infinity, -infinity};
constexpr std::int32_t integers[] = {0, 1, 2, 7, 100, -1, -2, -3, 1 << 20, INT32_MAX, INT32_MIN};
constexpr const char* texts[] = {
    "Hi.",
    "Hello world. How are you? I am well, thank you, and you; and the others (all of them)?",
    "",
    " ",
    "{HH AH0 L OW1}",
    "{HH",
    "[pause 0.1s]",
    "[pause 9s] a [pause 500ms] b",
    "\xff\xfe",
    "\xc3",
    "\xed\xa0\x80",
    "caf\xc3\xa9 \xf0\x9f\x98\x80",
    "1234567890 $5.50 Dr. No. 12:30"};

double a_double() { return doubles[pick(std::size(doubles))]; }
std::int32_t an_integer() { return integers[pick(std::size(integers))]; }

std::string a_text() {
  std::string text = texts[pick(std::size(texts))];
  for (std::size_t i = pick(3); i > 0; --i) text += texts[pick(std::size(texts))];
  for (std::size_t i = pick(4); i > 0 && !text.empty(); --i)
    text[pick(text.size())] = static_cast<char>(random_numbers());
  return text;
}

void ignore_end(tacoglow_handle*, void*) {}
int stop_sometimes(const tacoglow_progress*, void*) { return rarely() ? 1 : 0; }
int stop_sometimes(const float*, std::size_t, void*) { return rarely() ? 1 : 0; }

// A status as documented, and a message in one line if it is not success.
void check(tacoglow_status status, bool has_result) {
  REQUIRE(status >= TACOGLOW_OK && status <= TACOGLOW_OVERLOADED && status != TACOGLOW_INTERNAL);
  REQUIRE((status == TACOGLOW_OK) == has_result);
  const char* message = tacoglow_last_error();
  REQUIRE(status == TACOGLOW_OK || (message[0] != '\0' && std::strchr(message, '\n') == nullptr));
}

// A request and what it points to.
struct Request {
  std::string text = a_text(), lexicon = a_text() + " = " + a_text();
  std::vector<std::int32_t> ids;
  tacoglow_request request;

  Request() {
    tacoglow_request_init(&request);
    for (std::size_t i = pick(60); i > 0; --i)
      ids.push_back(rarely() ? an_integer() : static_cast<std::int32_t>(pick(148)));
    if (pick(2) == 0) text = "<speak>" + text + "</speak>";
    if (pick(3) != 0) request.text = text.c_str();
    if (request.text == nullptr || rarely()) {
      request.ids = ids.data();
      request.n_ids = ids.size();
    }
    request.seed = random_numbers();
    for (double* field : {&request.rate, &request.volume, &request.sentence_silence, &request.sigma, &request.denoise,
                          &request.gate_threshold})
      if (rarely()) *field = a_double();
    for (std::int32_t* field : {&request.max_frames, &request.attention_stop, &request.retries,
                                &request.first_segment_frames, &request.segment_frames, &request.context_frames})
      if (rarely()) *field = an_integer();
    if (request.retries > 3) request.retries = 3;  // valid, but slow
    if (pick(4) == 0) request.lexicon = lexicon.c_str();
    if (pick(4) == 0) request.ssml = 1;
    if (pick(4) == 0) request.trim_silence = 1;
    if (pick(4) == 0) request.progress = stop_sometimes;
    if (rarely()) request.struct_size = pick(300);
  }
};

void check_speech(const tacoglow_speech* speech) {
  for (std::size_t i = 0; i < speech->n_samples; ++i) REQUIRE(std::isfinite(speech->samples[i]));
  REQUIRE(speech->n_utterances > 0 && speech->utterances != nullptr);
}

struct Fuzzer {
  const char* bundle;
  std::string folder;
  std::vector<tacoglow_voice*> voices;
  std::vector<tacoglow_session*> sessions;
  std::vector<tacoglow_scheduler*> schedulers;
  std::vector<tacoglow_handle*> handles;

  tacoglow_voice* a_voice() { return voices.empty() || rarely() ? nullptr : voices[pick(voices.size())]; }
  tacoglow_session* a_session() { return sessions.empty() || rarely() ? nullptr : sessions[pick(sessions.size())]; }

  template <class Object>
  static void close_one(std::vector<Object*>& objects, void (*close)(Object*)) {
    if (objects.empty()) return close(nullptr);
    const std::size_t i = pick(objects.size());
    close(objects[i]);
    objects.erase(objects.begin() + static_cast<std::ptrdiff_t>(i));
  }

  void open_voice() {
    tacoglow_open_options options;
    tacoglow_open_options_init(&options);
    options.threads = rarely() ? an_integer() : 1;
    if (rarely()) options.backend = "abacus";
    if (rarely()) options.device = an_integer();
    if (rarely()) options.struct_size = pick(100);
    tacoglow_voice* voice = nullptr;
    const char* path = rarely() ? "/nowhere" : rarely() ? nullptr : bundle;
    const tacoglow_status status = tacoglow_voice_open(path, &options, &voice);
    check(status, voice != nullptr);
    if (voice != nullptr) voices.push_back(voice);
  }

  void open_session() {
    tacoglow_session* session = nullptr;
    const tacoglow_status status = tacoglow_session_open(a_voice(), &session);
    check(status, session != nullptr);
    if (session != nullptr) sessions.push_back(session);
  }

  void prepare() {
    const std::string text = a_text();
    const Request request;
    tacoglow_voice* voice = a_voice();
    tacoglow_text* prepared = nullptr;
    const tacoglow_status status = tacoglow_text_prepare(voice, rarely() ? nullptr : &request.request, &prepared);
    check(status, prepared != nullptr);
    tacoglow_text_free(prepared);
    std::int32_t ids[8];
    std::size_t n_ids = 0;
    const tacoglow_status converted = tacoglow_text_to_ids(voice, text.c_str(), ids, pick(9), &n_ids);
    check(converted, converted == TACOGLOW_OK);
  }

  void speak() {
    const Request request;
    tacoglow_speech* speech = nullptr;
    const tacoglow_status status = tacoglow_speak(a_session(), rarely() ? nullptr : &request.request, &speech);
    check(status, speech != nullptr);
    if (speech == nullptr) return;
    check_speech(speech);
    const std::string path = folder + (rarely() ? "/none/a.wav" : "/a.wav");
    const auto format = static_cast<tacoglow_wav_format>(pick(2));
    const tacoglow_status written =
        tacoglow_wav_write(path.c_str(), speech->samples, speech->n_samples, rarely() ? an_integer() : 16000, format);
    check(written, written == TACOGLOW_OK);
    tacoglow_speech_free(speech);
  }

  void speak_batch() {
    const std::vector<Request> requests(1 + pick(4));
    std::vector<const tacoglow_request*> pointers;
    for (const Request& request : requests) pointers.push_back(rarely() ? nullptr : &request.request);
    std::vector<tacoglow_speech*> speeches(requests.size());
    const tacoglow_status status = tacoglow_speak_batch(a_session(), pointers.data(), pointers.size(), speeches.data());
    for (tacoglow_speech* speech : speeches) {
      check(status, speech != nullptr);
      if (speech != nullptr) check_speech(speech);
      tacoglow_speech_free(speech);
    }
  }

  void stream() {
    const Request request;
    const tacoglow_segment_callback callback =
        rarely() ? nullptr : static_cast<tacoglow_segment_callback>(stop_sometimes);
    const tacoglow_status status = tacoglow_stream(a_session(), &request.request, callback, nullptr, nullptr);
    check(status, status == TACOGLOW_OK);
  }

  void open_scheduler() {
    tacoglow_scheduler_options options;
    tacoglow_scheduler_options_init(&options);
    if (rarely()) options.max_rows = an_integer();
    if (rarely()) options.lanes = rarely() ? INT32_MAX : static_cast<std::int32_t>(pick(3)) - 1;
    if (rarely()) options.max_backlog = an_integer();
    if (rarely()) options.struct_size = pick(100);
    tacoglow_scheduler* scheduler = nullptr;
    const tacoglow_status status = tacoglow_scheduler_open(a_voice(), &options, &scheduler);
    check(status, scheduler != nullptr);
    if (scheduler != nullptr) schedulers.push_back(scheduler);
  }

  void submit() {
    Request request;
    if (request.request.progress != nullptr) request.request.progress = nullptr;  // random numbers are for one thread
    tacoglow_submission submission;
    tacoglow_submission_init(&submission);
    submission.stream = static_cast<std::int32_t>(pick(2));
    if (pick(4) == 0) submission.client = texts[pick(std::size(texts))];
    if (rarely()) submission.on_end = ignore_end;
    if (rarely()) submission.struct_size = pick(100);
    tacoglow_scheduler* scheduler = schedulers.empty() ? nullptr : schedulers[pick(schedulers.size())];
    tacoglow_handle* handle = nullptr;
    const tacoglow_status status =
        tacoglow_submit(scheduler, rarely() ? nullptr : &request.request, &submission, &handle);
    check(status, handle != nullptr);
    if (handle != nullptr) handles.push_back(handle);
  }

  // Ends a request in one of the ways, and perhaps frees its handle.
  void end() {
    if (handles.empty()) return;
    tacoglow_handle* handle = handles[pick(handles.size())];
    const float* samples = nullptr;
    std::size_t n_samples = 0;
    tacoglow_speech* speech = nullptr;
    if (pick(3) == 0) tacoglow_handle_cancel(handle);
    if (pick(3) == 0) tacoglow_handle_next(handle, &samples, &n_samples);
    if (pick(3) == 0) {
      const tacoglow_status status = tacoglow_handle_result(handle, &speech);
      check(status, speech != nullptr);
      tacoglow_speech_free(speech);
    }
    if (pick(3) == 0) close_one(handles, tacoglow_handle_close);
  }

  void call() {
    switch (pick(20)) {
      case 0:
        return voices.size() < 3 ? open_voice() : close_one(voices, tacoglow_voice_close);
      case 1:
      case 2:
        return sessions.size() < 4 ? open_session() : close_one(sessions, tacoglow_session_close);
      case 3:
        return close_one(sessions, tacoglow_session_close);
      case 4:
      case 5:
      case 6:
        return stream();
      case 7:
      case 8:
        return speak_batch();
      case 9:
      case 10:
      case 11:
        return speak();
      case 12:
        return schedulers.size() < 2 ? open_scheduler() : close_one(schedulers, tacoglow_scheduler_close);
      case 13:
      case 14:
        return handles.size() < 8 ? submit() : end();
      case 15:
        return end();
      default:
        return prepare();
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: fuzz_api SECONDS SEED BUNDLE FOLDER\n");
    return 2;
  }
  random_numbers.seed(std::strtoull(argv[2], nullptr, 10));
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[1]));
  Fuzzer fuzzer{argv[3], argv[4], {}, {}, {}, {}};
  std::size_t tried = 0;
  for (; std::chrono::steady_clock::now() < end; ++tried) fuzzer.call();
  while (!fuzzer.voices.empty()) Fuzzer::close_one(fuzzer.voices, tacoglow_voice_close);  // before their sessions
  while (!fuzzer.sessions.empty()) Fuzzer::close_one(fuzzer.sessions, tacoglow_session_close);
  while (!fuzzer.schedulers.empty()) Fuzzer::close_one(fuzzer.schedulers, tacoglow_scheduler_close);
  while (!fuzzer.handles.empty()) Fuzzer::close_one(fuzzer.handles, tacoglow_handle_close);
  std::printf("%zu calls\n", tried);
  return EXIT_SUCCESS;
}
