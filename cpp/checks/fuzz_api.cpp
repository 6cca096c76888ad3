// Fuzzes tacoglow.h with sequences of calls, also from callbacks: every call must return a status and a message, and
// leave results alone or NULL when it fails; objects are closed in any order.
//
//   fuzz_api SECONDS SEED BUNDLE FOLDER [BACKEND ...]   makes calls for so long, at least 1000, and prints how many;
//                                                       writes wav files into FOLDER. Without BACKEND: the default one
//
// With `fake_voice.cpp` in place of the library's backends it makes many more calls, all of them in our own code.

#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <utility>

#include "fuzz_bundle.hpp"
#include "fuzz_inputs.hpp"
#include "fuzz_listener.hpp"

namespace {

void count_message(tacoglow_log_level, const char* message, void* user) {
  REQUIRE(message != nullptr);
  ++*static_cast<std::atomic<int>*>(user);
}

struct OpenVoice {
  tacoglow_voice* voice = nullptr;
  bool takes_text = false;
};

struct OpenSession {
  tacoglow_session* session = nullptr;
  bool takes_text = false;
};

struct Fuzzer {
  FuzzedBundle bundle;
  std::string folder;
  std::vector<const char*> backends;  // nullptr: the default
  std::vector<OpenVoice> voices;
  std::vector<OpenSession> sessions;
  std::vector<std::shared_ptr<OpenScheduler>> schedulers;
  std::vector<Held> handles;
  std::unique_ptr<std::atomic<int>> messages;  // counted by the log's callback
  bool is_in_callback = false;                 // of a session
  std::size_t n_speeches = 0, n_streams = 0;   // that have succeeded

  template <class Object>
  static Object one_of(const std::vector<Object>& objects) {
    return objects.empty() || rarely() ? Object() : pick_from(objects);
  }

  template <class Object>
  static Object take_one(std::vector<Object>& objects) {
    const std::size_t i = pick(objects.size());
    Object taken = std::move(objects[i]);
    objects.erase(objects.begin() + static_cast<std::ptrdiff_t>(i));
    return taken;
  }

  // What a session's callback does and returns: everything is allowed but the session.
  int call_back() {
    if (!is_in_callback && rarely()) {
      is_in_callback = true;
      call_beside_sessions();
      is_in_callback = false;
    }
    return rarely() ? 1 : 0;
  }

  static int on_segment(const float* samples, std::size_t n_samples, void* user) {
    check_finite(samples, n_samples);
    return static_cast<Fuzzer*>(user)->call_back();
  }

  static int on_progress(const tacoglow_progress* progress, void* user) {
    check_progress(*progress);
    return user == nullptr ? 0 : static_cast<Fuzzer*>(user)->call_back();  // the last field may be cut off
  }

  void add(tacoglow_voice* voice) {
    const tacoglow_facts* facts = tacoglow_voice_facts(voice);
    REQUIRE(facts->name != nullptr && facts->language != nullptr && facts->precision != nullptr);
    REQUIRE(facts->backend != nullptr && facts->decoder != nullptr && facts->n_symbols > 0);
    REQUIRE(static_cast<std::size_t>(facts->n_mel_channels) == n_mel_channels);
    voices.push_back({voice, facts->takes_text == 1});
  }

  void open_voices() {
    for (const char* backend : backends) {
      tacoglow_open_options options;
      tacoglow_open_options_init(&options);
      options.backend = backend;
      options.threads = 1;
      tacoglow_voice* voice = bundle.open(options);
      REQUIRE(voice != nullptr);
      n_mel_channels = static_cast<std::size_t>(tacoglow_voice_facts(voice)->n_mel_channels);
      add(voice);
    }
  }

  void open_voice() {
    tacoglow_open_options options;
    tacoglow_open_options_init(&options);
    options.backend = rarely() ? "abacus" : pick_from(backends);
    options.threads = rarely() ? an_integer() : 1;
    if (rarely()) options.device = an_integer();
    if (rarely()) options.compute = pick(2) == 0 ? "auto" : "int7";
    if (rarely()) options.plans = "/nowhere";
    if (rarely()) options.struct_size = pick(sizeof options + 100);
    if (tacoglow_voice* voice = bundle.open_somehow(options)) add(voice);
  }

  void open_or_close_voice() {
    if (voices.size() < 5) return open_voice();
    tacoglow_voice_close(take_one(voices).voice);
  }

  void open_session() {
    const auto [voice, takes_text] = one_of(voices);
    tacoglow_session* session = nullptr;
    const tacoglow_status status = tacoglow_session_open(voice, &session);
    check(status, session != nullptr);
    if (session != nullptr) sessions.push_back({session, takes_text});
  }

  void open_or_close_session() {
    if (sessions.size() < 4) return open_session();
    tacoglow_session_close(take_one(sessions).session);
  }

  // One that accepts text, if there is one.
  tacoglow_voice* a_voice_for_texts() const {
    OpenVoice voice = one_of(voices);
    for (std::size_t i = 0; i < 8 && !voice.takes_text; ++i) voice = one_of(voices);
    return voice.voice;
  }

  void prepare() {
    Request request(true);
    if (!rarely()) request.request.text = request.text.c_str();
    const Cut cut(request.request);
    tacoglow_text* prepared = nullptr;
    const tacoglow_status status =
        tacoglow_text_prepare(a_voice_for_texts(), rarely() ? nullptr : cut.get(), &prepared);
    check(status, prepared != nullptr);
    if (prepared != nullptr) check_prepared(*prepared);
    tacoglow_text_free(prepared);
  }

  void convert() {
    const std::string text = a_text();
    std::vector<std::int32_t> ids(pick(9));
    std::size_t n_ids = 0;
    const tacoglow_status status =
        tacoglow_text_to_ids(a_voice_for_texts(), text.c_str(), ids.data(), ids.size(), rarely() ? nullptr : &n_ids);
    check(status, status == TACOGLOW_OK);
  }

  // Draws whether a request reports to this object.
  void listen(Request& request) {
    if (pick(4) != 0) return;
    request.request.progress = on_progress;
    request.request.progress_user = this;
  }

  void speak() {
    const auto [session, takes_text] = one_of(sessions);
    Request request(takes_text);
    listen(request);
    const Cut cut(request.request);
    tacoglow_speech* speech = nullptr;
    const tacoglow_status status = tacoglow_speak(session, rarely() ? nullptr : cut.get(), &speech);
    check(status, speech != nullptr);
    if (speech == nullptr) return;
    check_speech(speech);
    ++n_speeches;
    if (pick(32) == 0) write_wav(speech->samples, speech->n_samples);
    tacoglow_speech_free(speech);
  }

  void write_wav(const float* samples, std::size_t n_samples) const {
    const std::string path = folder + (rarely() ? "/none/a.wav" : "/a.wav");
    const auto format = static_cast<tacoglow_wav_format>(pick(2));
    const std::int32_t rate = rarely() ? an_integer() : 16000;
    const tacoglow_status status = tacoglow_wav_write(path.c_str(), samples, n_samples, rate, format);
    check(status, status == TACOGLOW_OK);
  }

  void write_any_wav() const {
    std::vector<float> samples(pick(9));
    for (float& sample : samples) sample = static_cast<float>(std::clamp(a_double(), -1e30, 1e30));
    write_wav(rarely() ? nullptr : samples.data(), samples.size());
  }

  void speak_batch() {
    const auto [session, takes_text] = one_of(sessions);
    std::list<Request> requests;
    for (std::size_t i = pick(5); i > 0; --i) requests.emplace_back(takes_text);
    std::vector<Cut<tacoglow_request>> cuts;
    std::vector<const tacoglow_request*> pointers;
    for (Request& request : requests) {
      listen(request);
      cuts.emplace_back(request.request);
      pointers.push_back(pick(64) == 0 ? nullptr : cuts.back().get());
    }
    std::vector<tacoglow_speech*> speeches(requests.size());
    const tacoglow_status status = tacoglow_speak_batch(session, pointers.data(), pointers.size(), speeches.data());
    check(status, status == TACOGLOW_OK);
    for (tacoglow_speech* speech : speeches) {
      REQUIRE((status == TACOGLOW_OK) == (speech != nullptr));
      if (speech != nullptr) check_speech(speech);
      tacoglow_speech_free(speech);
    }
  }

  void stream() {
    const auto [session, takes_text] = one_of(sessions);
    const Request request(takes_text);
    const Cut cut(request.request);
    tacoglow_speech* speech = nullptr;
    const bool is_wanted = pick(2) == 0;
    const tacoglow_status status =
        tacoglow_stream(session, cut.get(), rarely() ? nullptr : on_segment, this, is_wanted ? &speech : nullptr);
    check(status, is_wanted ? speech != nullptr : status == TACOGLOW_OK);
    if (status == TACOGLOW_OK) ++n_streams;
    if (speech != nullptr) check_speech(speech);
    tacoglow_speech_free(speech);
  }

  void open_scheduler() {
    tacoglow_scheduler_options options;
    tacoglow_scheduler_options_init(&options);
    if (pick(2) == 0) options.max_rows = 1 + static_cast<std::int32_t>(pick(3));
    if (rarely()) options.max_rows = an_integer();
    options.lanes = rarely() ? INT32_MAX : static_cast<std::int32_t>(pick(3));
    if (pick(2) == 0) options.max_backlog = 1 + static_cast<std::int64_t>(pick(20));
    if (rarely()) options.max_backlog = an_integer();
    if (rarely()) options.profile = rarely() ? "" : "throughput";
    if (rarely()) options.struct_size = pick(sizeof options + 100);
    const auto [voice, takes_text] = one_of(voices);
    tacoglow_scheduler* scheduler = nullptr;
    const tacoglow_status status = tacoglow_scheduler_open(voice, rarely() ? nullptr : Cut(options).get(), &scheduler);
    check(status, scheduler != nullptr);
    if (scheduler != nullptr) schedulers.push_back(std::make_shared<OpenScheduler>(scheduler, takes_text));
  }

  void open_or_close_scheduler() {
    if (schedulers.size() < 3) return open_scheduler();
    take_one(schedulers)->close();
  }

  void submit() {
    if (schedulers.empty() && !rarely()) return open_scheduler();
    if (schedulers.empty() || pick(64) == 0) {
      tacoglow_handle* handle = nullptr;
      const tacoglow_status status = tacoglow_submit(nullptr, nullptr, nullptr, &handle);
      return check(status, handle != nullptr);
    }
    const std::size_t i = pick(schedulers.size());
    auto listener = std::make_unique<Listener>(schedulers[i]);
    if (listener->act == Act::close_scheduler)
      schedulers.erase(schedulers.begin() + static_cast<std::ptrdiff_t>(i));  // it is the listener's
    if (listener->act == Act::close_others)
      for (std::size_t k = handles.size(); k-- > 0;)
        if (handles[k].listener().home == listener->home && pick(2) == 0) {
          listener->others.push_back(std::move(handles[k]));
          handles.erase(handles.begin() + static_cast<std::ptrdiff_t>(k));
        }
    if (auto refused = Listener::submit(std::move(listener), handles)) {
      if (refused->act == Act::close_scheduler) schedulers.push_back(refused->home);
      refused->act = Act::nothing;
      for (Held& other : refused->others) handles.push_back(std::move(other));
    }
  }

  // Ends a request in one of the ways, and perhaps frees its handle.
  void end() {
    if (handles.empty()) return tacoglow_handle_close(nullptr);
    tacoglow_handle* handle = handles[pick(handles.size())].handle();
    const float* samples = nullptr;
    std::size_t n_samples = 0;
    tacoglow_speech* speech = nullptr;
    if (pick(4) == 0) tacoglow_handle_cancel(handle);
    if (pick(3) == 0) {
      const tacoglow_status status = tacoglow_handle_next(handle, &samples, &n_samples);
      check(status, status == TACOGLOW_OK);
      check_finite(samples, n_samples);
    }
    if (pick(3) == 0) {
      const tacoglow_status status = tacoglow_handle_result(handle, &speech);
      check(status, speech != nullptr);
      if (speech != nullptr) check_speech(speech);
      tacoglow_speech_free(speech);
    }
    if (pick(3) == 0) take_one(handles);
  }

  // Structures of callers with older and newer headers.
  template <class Struct>
  static void init(void (*init_sized)(Struct*, std::size_t)) {
    std::vector<unsigned char> bytes(pick(sizeof(Struct) + 20));
    init_sized(bytes.empty() ? nullptr : reinterpret_cast<Struct*>(bytes.data()), bytes.size());
  }

  static void init_any() {
    init(tacoglow_open_options_init_sized);
    init(tacoglow_loader_init_sized);
    init(tacoglow_request_init_sized);
    init(tacoglow_scheduler_options_init_sized);
    init(tacoglow_submission_init_sized);
    REQUIRE(tacoglow_voice_facts(nullptr) == nullptr && is_line(tacoglow_version()));
  }

  void set_log() {
    auto counter = std::make_unique<std::atomic<int>>(0);
    tacoglow_log_set(rarely() ? nullptr : count_message, counter.get());
    messages = std::move(counter);  // the one before is not counted in any more
  }

  void call_beside_sessions() {
    switch (pick(16)) {
      case 0:
        return pick(8) == 0 ? open_or_close_voice() : pick(16) == 0 ? open_or_close_scheduler() : set_log();
      case 1:
        return write_any_wav();
      case 2:
      case 3:
        return init_any();
      case 4:
        return prepare();
      case 5:
      case 6:
        return convert();
      case 7:
      case 8:
      case 9:
        return handles.size() < 8 ? submit() : end();
      default:
        return end();
    }
  }

  void call() {
    switch (pick(32)) {
      case 0:
      case 1:
        return open_or_close_session();
      case 2:
        return speak_batch();
      case 3:
      case 4:
        return stream();
      case 5:
      case 6:
        return speak();
      default:
        return call_beside_sessions();
    }
  }

  // Closes everything that is open, in any order.
  void close_all() {
    while (!voices.empty() || !sessions.empty() || !schedulers.empty() || !handles.empty()) switch (pick(4)) {
        case 0:
          if (!voices.empty()) tacoglow_voice_close(take_one(voices).voice);
          break;
        case 1:
          if (!sessions.empty()) tacoglow_session_close(take_one(sessions).session);
          break;
        case 2:
          if (!schedulers.empty()) take_one(schedulers)->close();
          break;
        default:
          if (!handles.empty()) take_one(handles);
      }
    tacoglow_log_set(nullptr, nullptr);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: fuzz_api SECONDS SEED BUNDLE FOLDER [BACKEND ...]\n");
    return 2;
  }
  random_numbers.seed(std::strtoull(argv[2], nullptr, 10));
  std::vector<const char*> backends(argv + 5, argv + argc);
  if (backends.empty()) backends.push_back(nullptr);
  Fuzzer fuzzer{FuzzedBundle(argv[3]), argv[4], std::move(backends), {}, {}, {}, {}, nullptr};
  std::size_t tried = 0;
  fuzzer.open_voices();
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[1]));
  for (; tried < 1000 || std::chrono::steady_clock::now() < end; ++tried) fuzzer.call();
  fuzzer.close_all();
  REQUIRE(fuzzer.n_speeches > 0 && fuzzer.n_streams > 0);
  std::printf("%zu calls\n", tried);
  return EXIT_SUCCESS;
}
