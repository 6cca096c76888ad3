// The core of a server, without the network: reads requests from standard input, one per line, and synthesizes them in
// a fixed number of workers that share one voice.
//
//   server voice/ WORKERS QUEUE < requests.txt       each line: OUT.wav, then a text
//
// The voice is loaded once. Each worker has its own session, so that the workers run in parallel. The queue is bounded:
// when it is full, reading waits (a network server would answer "busy" instead), so that memory and delay stay bounded
// too. Every worker synthesizes once before the first request, so that no request includes one-time initialization.

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <queue>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tacoglow.h"

namespace {

struct Job {
  std::string wav;
  std::string text;
};

class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  // Waits while the queue is full.
  void push(Job job) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs_.size() < capacity_; });
    jobs_.push(std::move(job));
    changed_.notify_all();
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  // Waits for a job; false once the queue is closed and empty.
  bool pop(Job& job) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !jobs_.empty() || closed_; });
    if (jobs_.empty()) return false;
    job = std::move(jobs_.front());
    jobs_.pop();
    changed_.notify_all();
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::queue<Job> jobs_;
  std::size_t capacity_;
  bool closed_ = false;
};

// One session, used by one thread.
class Worker {
 public:
  explicit Worker(tacoglow_voice* voice) : rate_(tacoglow_voice_facts(voice)->sampling_rate) {
    if (tacoglow_session_open(voice, &session_) != TACOGLOW_OK) throw std::runtime_error(tacoglow_last_error());
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { tacoglow_session_close(session_); }

  // Runs every graph except the denoiser, for a few frames.
  void warm_up() { speak({"", "a"}, 8); }

  void serve(BoundedQueue& queue) {
    for (Job job; queue.pop(job);) {
      const std::string error_message = speak(job, 0);
      std::printf("%s: %s\n", job.wav.c_str(), error_message.empty() ? "spoken" : error_message.c_str());
    }
  }

 private:
  // Returns an error message, or "" on success. A failed request does not end the server.
  std::string speak(const Job& job, std::int32_t max_frames) {
    tacoglow_request request;
    tacoglow_request_init(&request);
    request.text = job.text.c_str();
    request.max_frames = max_frames;
    tacoglow_speech* speech = nullptr;
    if (tacoglow_speak(session_, &request, &speech) != TACOGLOW_OK) return tacoglow_last_error();
    const tacoglow_status status = job.wav.empty() ? TACOGLOW_OK
                                                   : tacoglow_wav_write(job.wav.c_str(), speech->samples,
                                                                        speech->n_samples, rate_, TACOGLOW_WAV_INT16);
    tacoglow_speech_free(speech);
    return status == TACOGLOW_OK ? "" : tacoglow_last_error();
  }

  tacoglow_session* session_ = nullptr;
  std::int32_t rate_;  // Hz
};

void read_jobs(BoundedQueue& queue) {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream fields(line);
    Job job;
    if (!(fields >> job.wav)) continue;
    std::getline(fields >> std::ws, job.text);
    queue.push(std::move(job));
  }
  queue.close();
}

void run(const char* bundle, std::size_t n_workers, std::size_t capacity) {
  // One thread per request: the workers already run in parallel and would compete for the cores.
  tacoglow_open_options options;
  tacoglow_open_options_init(&options);
  options.threads = 1;
  tacoglow_voice* voice = nullptr;
  if (tacoglow_voice_open(bundle, &options, &voice) != TACOGLOW_OK) throw std::runtime_error(tacoglow_last_error());
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::size_t i = 0; i < n_workers; ++i) workers.push_back(std::make_unique<Worker>(voice));
  tacoglow_voice_close(voice);  // the sessions keep it alive
  for (const auto& worker : workers) worker->warm_up();

  BoundedQueue queue(capacity);
  std::vector<std::thread> threads;
  for (const auto& worker : workers) threads.emplace_back([&queue, &worker] { worker->serve(queue); });
  read_jobs(queue);
  for (auto& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  const int n_workers = argc == 4 ? std::atoi(argv[2]) : 0, capacity = argc == 4 ? std::atoi(argv[3]) : 0;
  if (n_workers < 1 || capacity < 1) {
    std::fprintf(stderr, "usage: server BUNDLE WORKERS QUEUE < requests.txt\n");
    return 2;
  }
  try {
    run(argv[1], static_cast<std::size_t>(n_workers), static_cast<std::size_t>(capacity));
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
