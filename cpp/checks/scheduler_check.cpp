// Checks a scheduler through tacoglow.h: what it speaks, and every order of cancelling and closing.
//
//   scheduler_check same BUNDLE BACKEND REQUESTS THREADS    prints "ok" if so many different requests, from so many
//                                                           threads, speak bit for bit what they speak alone
//   scheduler_check ends BUNDLE BACKEND ROUNDS              prints "ok" if requests, handles, schedulers and voices end
//                                                           in any order, from callbacks and from different threads
//   scheduler_check order BUNDLE BACKEND REQUESTS IN_FLIGHT    prints "ok" if so many equal requests of a client end as
//                                                              they came; IN_FLIGHT are submitted at once, another one
//                                                              at each end
//   scheduler_check fork BUNDLE BACKEND                     prints what a forked process is told, a line for each call
//   scheduler_check threads BUNDLE BACKEND                  prints the status of opening a scheduler where the system
//                                                           refuses threads, and the message
//   scheduler_check submit BUNDLE BACKEND SSML SENTENCE_SILENCE TEXT    prints the status of submitting a text, and the
//                                                                       message of a failure
//
// With `fake_voice.cpp` in place of the library's backends it runs under the thread sanitizer.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "scheduler_check.hpp"

namespace {

using namespace tacoglow::checks;

// What a request speaks.
struct Spoken {
  std::vector<float> samples, mel, alignment;
  std::vector<double> times;         // of words and tokens
  std::vector<std::size_t> lengths;  // samples, of each segment
  int stop_reason = -1;
  std::int64_t first_sample = 0;

  bool operator==(const Spoken& other) const {
    return samples == other.samples && mel == other.mel && alignment == other.alignment && lengths == other.lengths &&
           stop_reason == other.stop_reason && times == other.times && first_sample == other.first_sample;
  }

  void add(const float* segment, std::size_t n) {
    samples.insert(samples.end(), segment, segment + n);
    lengths.push_back(n);
  }

  void add(tacoglow_speech* speech, std::int32_t n_mel_channels) {
    if (speech->n_samples > 0) add(speech->samples, speech->n_samples);
    mel.assign(speech->mel, speech->mel + speech->n_frames * static_cast<std::size_t>(n_mel_channels));
    for (std::size_t i = 0; i < speech->n_utterances; ++i) {
      const tacoglow_utterance& own = speech->utterances[i];
      alignment.insert(alignment.end(), own.alignment, own.alignment + own.n_frames * own.n_ids);
      first_sample = own.first_sample;
      for (std::size_t k = 0; k < own.n_words; ++k) times.push_back(own.words[k].end_seconds);
      for (std::size_t k = 0; k < own.n_ids; ++k) times.push_back(own.tokens[k].end_seconds);
    }
    stop_reason = speech->stop_reason;
    tacoglow_speech_free(speech);
  }
};

int collect(const float* samples, std::size_t n, void* user) {
  static_cast<Spoken*>(user)->add(samples, n);
  return 0;
}

// A request that differs from the others: in length, noise, limits, window, rate, and in being streamed.
struct Case {
  std::vector<std::int32_t> ids;
  std::string text;
  tacoglow_request request;
  bool is_stream;

  Case(const tacoglow_facts& facts, std::size_t i) : is_stream(i % 3 != 0) {
    tacoglow_request_init(&request);
    for (std::size_t k = 0; k < 1 + i * 7 % static_cast<std::size_t>(facts.max_tokens); ++k)
      ids.push_back(static_cast<std::int32_t>((i + 3 * k) % static_cast<std::size_t>(facts.n_symbols)));
    for (std::size_t k = 0; k <= i % 3; ++k) text += "Speak " + std::to_string(i) + " now, or wait [pause 0.1s]. ";
    const bool is_text = facts.takes_text != 0 && i % 4 == 1;
    request.text = is_text ? text.c_str() : nullptr;
    request.ids = is_text ? nullptr : ids.data();
    request.n_ids = is_text ? 0 : ids.size();
    request.seed = i;
    if (i % 5 == 0) request.gate_threshold = 0.9;
    if (i % 4 == 2) request.attention_window = 2;
    if (i % 7 == 3) request.rate = 0.7;
    if (i % 5 == 2) request.max_frames = 9;
    if (i % 4 == 1) request.trim_silence = 1;
    if (!is_stream) request.retries = static_cast<std::int32_t>(i % 3);
    request.first_segment_frames = 3;
    request.segment_frames = 5;
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  Spoken alone(const Voice& voice) const {
    Spoken spoken;
    tacoglow_session* session = nullptr;
    tacoglow_speech* speech = nullptr;
    require(tacoglow_session_open(voice.voice, &session) == TACOGLOW_OK, "open a session");
    require((is_stream ? tacoglow_stream(session, &request, collect, &spoken, &speech)
                       : tacoglow_speak(session, &request, &speech)) == TACOGLOW_OK,
            "speak alone");
    tacoglow_session_close(session);
    spoken.add(speech, voice.facts->n_mel_channels);
    return spoken;
  }

  // Half of the streams are pulled, and half call back.
  Spoken together(const Voice& voice, tacoglow_scheduler* scheduler) const {
    Spoken spoken;
    std::promise<void> ended;
    std::pair<Spoken*, std::promise<void>*> user = {&spoken, &ended};
    tacoglow_submission submission;
    tacoglow_submission_init(&submission);
    submission.stream = is_stream ? 1 : 0;
    const std::string client = request.seed % 2 == 0 ? "even" : "odd";
    submission.client = client.c_str();
    const bool calls_back = is_stream && request.seed % 4 < 2;
    if (calls_back) {
      submission.on_segment = [](const float* samples, std::size_t n, void* pair) {
        return collect(samples, n, static_cast<decltype(user)*>(pair)->first);
      };
      submission.on_end = [](tacoglow_handle*, void* pair) { static_cast<decltype(user)*>(pair)->second->set_value(); };
      submission.user = &user;
    }
    tacoglow_handle* handle = nullptr;
    require(tacoglow_submit(scheduler, &request, &submission, &handle) == TACOGLOW_OK, "submit");
    if (calls_back) ended.get_future().wait();
    const float* samples = nullptr;
    for (std::size_t n = 1; is_stream && !calls_back && n > 0;) {
      require(tacoglow_handle_next(handle, &samples, &n) == TACOGLOW_OK, "the next segment");
      if (n > 0) spoken.add(samples, n);
    }
    tacoglow_speech* speech = nullptr;
    require(tacoglow_handle_result(handle, &speech) == TACOGLOW_OK, "the result");
    spoken.add(speech, voice.facts->n_mel_channels);
    tacoglow_handle_close(handle);
    return spoken;
  }
};

void check_same(const char* bundle, const char* backend, std::size_t n_requests, std::size_t n_threads) {
  const Voice voice(bundle, backend);
  std::vector<std::unique_ptr<Case>> cases;
  std::vector<Spoken> expected;
  for (std::size_t i = 0; i < n_requests; ++i) {
    cases.push_back(std::make_unique<Case>(*voice.facts, i));
    expected.push_back(cases.back()->alone(voice));
  }
  tacoglow_scheduler* scheduler = nullptr;
  require(tacoglow_scheduler_open(voice.voice, nullptr, &scheduler) == TACOGLOW_OK, "open the scheduler");
  std::atomic<std::size_t> next = 0;
  std::vector<std::future<void>> clients;
  for (std::size_t k = 0; k < n_threads; ++k)
    clients.push_back(std::async(std::launch::async, [&] {
      for (std::size_t i = next++; i < n_requests; i = next++)
        require(cases[i]->together(voice, scheduler) == expected[i], "request " + std::to_string(i) + " differs");
    }));
  for (auto& client : clients) client.get();
  tacoglow_scheduler_close(scheduler);
}

// What the callbacks of one round do, some of them to the round itself.
struct Round {
  tacoglow_scheduler* scheduler = nullptr;
  tacoglow_handle* other = nullptr;  // closed by a callback of a different request
  std::atomic<int> segments = 0, ends = 0;
  bool is_closed = false;         // the scheduler, by a callback
  int late = 0;                   // segments after that
  std::promise<void> own_closed;  // by close_own
};

int stop_at_second(const float*, std::size_t, void* user) {
  auto& round = *static_cast<Round*>(user);
  if (round.is_closed) ++round.late;
  return ++round.segments == 2;
}

int close_other(const float*, std::size_t, void* user) {
  auto& round = *static_cast<Round*>(user);
  if (round.is_closed) ++round.late;
  tacoglow_handle_close(std::exchange(round.other, nullptr));
  return 0;
}

int close_scheduler(const float*, std::size_t, void* user) {
  auto& round = *static_cast<Round*>(user);
  if (round.is_closed) ++round.late;
  tacoglow_scheduler_close(std::exchange(round.scheduler, nullptr));
  round.is_closed = true;
  return 0;
}

void count_end(tacoglow_handle*, void* user) { ++static_cast<Round*>(user)->ends; }

void close_own(tacoglow_handle* handle, void* user) {
  static_cast<Round*>(user)->own_closed.set_value();
  tacoglow_handle_close(handle);
}

class Ends {
 public:
  Ends(const char* bundle, const char* backend, std::uint64_t seed)
      : voice_(new Voice(bundle, backend)), random_(seed) {
    for (std::size_t i = 0; i < 6; ++i) {
      cases_.push_back(std::make_unique<Case>(*voice_->facts, i));
      cases_.back()->request.gate_threshold = 0.999;  // long enough to be cancelled
      cases_.back()->request.max_frames = 0;
      cases_.back()->request.retries = -1;
    }
    tacoglow_scheduler_options options;
    tacoglow_scheduler_options_init(&options);
    options.max_rows = 1 + static_cast<std::int32_t>(random_() % 3);
    options.lanes = 1 + static_cast<std::int32_t>(random_() % 2);
    require(tacoglow_scheduler_open(voice_->voice, &options, &round_.scheduler) == TACOGLOW_OK, "open the scheduler");
  }

  // is_closed_by_callback: the scheduler, which then ends on its own.
  void run(bool is_closed_by_callback) {
    if (random_() % 2 == 0) voice_.reset();  // before its scheduler
    tacoglow_handle* pulled = submit(true, nullptr, count_end);
    tacoglow_handle* whole = submit(false, nullptr, count_end);
    round_.other = submit(random_() % 2 == 0, nullptr, nullptr);
    tacoglow_handle* stopped = submit(true, stop_at_second, count_end);
    tacoglow_handle* closing = submit(true, close_other, count_end);
    submit(random_() % 2 == 0, nullptr, close_own);
    tacoglow_handle* last = is_closed_by_callback ? submit(true, close_scheduler, count_end) : nullptr;
    std::thread puller([&] {
      const float* samples = nullptr;
      std::size_t n = 1;
      while (n > 0 && tacoglow_handle_next(pulled, &samples, &n) == TACOGLOW_OK) continue;
    });
    std::thread canceller([&, wait = random_() % 3000] {
      std::this_thread::sleep_for(std::chrono::microseconds(wait));
      tacoglow_handle_cancel(whole);
    });
    tacoglow_speech* speech = nullptr;
    const tacoglow_status status = tacoglow_handle_result(stopped, &speech);
    require((status == TACOGLOW_OK) == (speech != nullptr), "a result");
    require(status == TACOGLOW_CANCELLED || round_.segments < 2, "the callback asked to stop");
    tacoglow_speech_free(speech);
    canceller.join();
    if (last == nullptr && random_() % 2 == 0) tacoglow_scheduler_close(std::exchange(round_.scheduler, nullptr));
    puller.join();  // ends with the request
    round_.own_closed.get_future().wait();
    for (tacoglow_handle* handle : {pulled, whole, stopped, closing, last}) tacoglow_handle_close(handle);
    tacoglow_handle_close(round_.other);
    if (last == nullptr) tacoglow_scheduler_close(round_.scheduler);
    require(round_.late == 0, "a segment after the scheduler was closed");
  }

 private:
  tacoglow_handle* submit(bool is_stream, tacoglow_segment_callback on_segment, tacoglow_end_callback on_end) {
    tacoglow_submission submission;
    tacoglow_submission_init(&submission);
    submission.stream = is_stream ? 1 : 0;
    submission.on_segment = on_segment;
    submission.on_end = on_end;
    submission.user = &round_;
    tacoglow_handle* handle = nullptr;
    const tacoglow_request& request = cases_[random_() % cases_.size()]->request;
    require(tacoglow_submit(round_.scheduler, &request, &submission, &handle) == TACOGLOW_OK, "submit");
    return handle;
  }

  std::unique_ptr<Voice> voice_;
  std::vector<std::unique_ptr<Case>> cases_;
  std::mt19937_64 random_;
  Round round_;
};

// A request that is submitted again when it ends.
struct Again {
  tacoglow_scheduler* scheduler = nullptr;
  const tacoglow_request* request = nullptr;
  tacoglow_handle* handle = nullptr;
  tacoglow_status status = TACOGLOW_OK;
  std::promise<void> done;
};

void submit_again(tacoglow_handle*, void* user) {
  auto& again = *static_cast<Again*>(user);
  again.status = tacoglow_submit(again.scheduler, again.request, nullptr, &again.handle);
  again.done.set_value();
}

// A request that has ended has left the backlog. A scheduler that is being closed ends what it has accepted, and
// refuses the rest.
void check_submitting_at_the_end(const char* bundle, const char* backend, bool is_closed) {
  const Voice voice(bundle, backend);
  Case own(*voice.facts, 0);
  own.request.gate_threshold = 0.999;
  Again again;
  tacoglow_scheduler_options options;
  tacoglow_scheduler_options_init(&options);
  options.max_backlog = 1;  // one request at a time
  require(tacoglow_scheduler_open(voice.voice, &options, &again.scheduler) == TACOGLOW_OK, "open the scheduler");
  again.request = &own.request;
  tacoglow_submission submission;
  tacoglow_submission_init(&submission);
  submission.on_end = submit_again;
  submission.user = &again;
  tacoglow_handle* first = nullptr;
  require(tacoglow_submit(again.scheduler, again.request, &submission, &first) == TACOGLOW_OK, "submit");
  if (!is_closed) {
    tacoglow_handle_cancel(first);
    again.done.get_future().wait();
    require(again.status == TACOGLOW_OK, "submit when a request has ended");
  }
  tacoglow_scheduler_close(again.scheduler);
  require((again.handle != nullptr) == (again.status == TACOGLOW_OK), "a handle");
  require(again.handle != nullptr || again.status == TACOGLOW_CANCELLED, "a request that is refused");
  tacoglow_speech* speech = nullptr;
  if (again.handle != nullptr && tacoglow_handle_result(again.handle, &speech) == TACOGLOW_OK)
    tacoglow_speech_free(speech);
  tacoglow_handle_close(again.handle);
  tacoglow_handle_close(first);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string command = argc > 1 ? argv[1] : "";
    if (command == "same" && argc == 6)
      check_same(argv[2], argv[3], static_cast<std::size_t>(std::atoi(argv[4])),
                 static_cast<std::size_t>(std::atoi(argv[5])));
    else if (command == "ends" && argc == 5)
      for (int i = 0; i < std::atoi(argv[4]); ++i) {
        Ends(argv[2], argv[3], static_cast<std::uint64_t>(i)).run(i % 4 == 1);
        check_submitting_at_the_end(argv[2], argv[3], i % 2 == 0);
      }
    else if (command == "order" && argc == 6)
      check_order(argv[2], argv[3], static_cast<std::size_t>(std::atoi(argv[4])),
                  static_cast<std::size_t>(std::atoi(argv[5])));
    else if (command == "fork" && argc == 4)
      print_fork(argv[2], argv[3]);
    else if (command == "threads" && argc == 4)
      print_without_threads(argv[2], argv[3]);
    else if (command == "submit" && argc == 7) {
      tacoglow_request request;
      tacoglow_request_init(&request);
      request.ssml = std::atoi(argv[4]);
      request.sentence_silence = std::atof(argv[5]);
      request.text = argv[6];
      print_submission(argv[2], argv[3], request);
    } else
      throw std::invalid_argument("usage: scheduler_check same|ends|order|fork|threads|submit BUNDLE BACKEND ...");
    std::printf("ok\n");
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "failed: %s\n", error.what());  // a report of leaks would lose what stdout has not written yet
    return EXIT_FAILURE;
  }
}
