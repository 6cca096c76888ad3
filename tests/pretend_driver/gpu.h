// A pretended GPU: memory with bounds, streams that run work as late as CUDA's rules allow, captures, events.
//
// Reading a result too early, changing memory that a copy has not read yet, using freed memory, or destroying what a
// graph still needs fails every time here, while a real GPU fails occasionally. A piece of work takes one millisecond
// of its stream's clock.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace pretend {

// The statuses of cuda.h that are used here.
enum Status {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  LAUNCH_FAILED = 719,
  COOPERATIVE_LAUNCH_TOO_LARGE = 720,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_WRONG_THREAD = 908,
};

struct Failure {
  int status;
};

inline void require(bool holds, int status) {
  if (!holds) throw Failure{status};
}

using Work = std::function<void()>;

inline std::recursive_mutex lock;  // of everything here but a stream's run
using Guard = std::lock_guard<std::recursive_mutex>;

// What failed while it ran. As on a real GPU, every later call reports it.
class Fault {
 public:
  void set(int status, const std::string& reason) {
    Guard guard(lock);
    if (status_ != SUCCESS) return;
    reason_ = reason, status_ = status;
    std::fprintf(stderr, "pretended driver: %s\n", reason.c_str());
  }
  void clear() { reason_.clear(), status_ = SUCCESS; }
  int status() const { return status_; }
  const char* reason() const { return reason_.c_str(); }

 private:
  std::atomic<int> status_{SUCCESS};
  std::string reason_;
};
inline Fault fault;

// GPU memory and pinned memory, which are both memory of this process.
class Memory {
 public:
  void* allocate(size_t bytes, bool is_device) {
    Guard guard(lock);
    const size_t room = (bytes + 511) / 512 * 512 + 512;
    void* start = std::aligned_alloc(512, room);
    std::memset(start, 0xFF, room);  // NaN, if read as floats
    blocks_[reinterpret_cast<uintptr_t>(start)] = {bytes, is_device};
    return start;
  }
  void free(void* start) {
    Guard guard(lock);
    require(blocks_.erase(reinterpret_cast<uintptr_t>(start)) == 1, INVALID_VALUE);
    std::free(start);
  }
  struct Block {
    size_t bytes;
    bool is_device;
  };
  // The block that an address is in, with the bytes from there to its end; null: not allocated here, or freed.
  const Block* find(const void* address, size_t* left = nullptr) {
    Guard guard(lock);
    const auto at = reinterpret_cast<uintptr_t>(address);
    auto next = blocks_.upper_bound(at);
    if (next == blocks_.begin()) return nullptr;
    --next;
    if (at >= next->first + std::max<size_t>(next->second.bytes, 1)) return nullptr;
    if (left != nullptr) *left = next->first + next->second.bytes - at;
    return &next->second;
  }
  bool holds(const void* address, size_t bytes) {
    size_t left = 0;
    return find(address, &left) != nullptr && bytes <= left;
  }

 private:
  std::map<uintptr_t, Block> blocks_;
};
inline Memory memory;

enum class Mode { GLOBAL, THREAD_LOCAL, RELAXED };  // of a capture: which threads may not do what could synchronize

struct Capture {
  Mode mode;
  std::thread::id thread;
  bool valid = true;
  std::vector<Work> nodes;
};

class Stream {
 public:
  explicit Stream(unsigned flags) : flags(flags) {}

  const unsigned flags;
  std::unique_ptr<Capture> capture;

  void enqueue(Work work);
  int64_t end() {
    Guard guard(lock);
    return done_ + static_cast<int64_t>(pending_.size());
  }
  int64_t done() const { return done_; }
  void run_up_to(int64_t position) {
    if (done_ >= position) return;
    const Guard running(running_);  // not the lock: work may call Python, which may call this driver
    while (done_ < position) {
      Work work;
      {
        Guard guard(lock);
        work = std::move(pending_.front());
        pending_.pop_front();
      }
      try {
        if (fault.status() == SUCCESS) work();
      } catch (const Failure& failure) {
        fault.set(failure.status, "work on a stream touched memory that is not allocated");
      }
      ++done_;
    }
  }
  void invalidate() {
    capture->valid = false;
    throw Failure{CAPTURE_UNSUPPORTED};
  }

 private:
  std::recursive_mutex running_;
  std::deque<Work> pending_;
  std::atomic<int64_t> done_{0};
};

struct Event {
  bool timed;
  std::shared_ptr<Stream> stream = nullptr;  // null: not recorded, which counts as done
  int64_t position = 0;
  bool captured = false;
  void wait() const {
    require(!captured, CAPTURE_UNSUPPORTED);
    if (stream != nullptr) stream->run_up_to(position);
  }
};

using Graph = std::vector<Work>;

// A kernel of a library: what `kernels.h` describes.
struct Kernel {
  std::string name;
  const struct Emulation* emulation;
  std::shared_ptr<bool> loaded;  // false once its library is unloaded
  int shared_bytes = 48 << 10;   // that a launch may ask for
};

struct Library {
  void* code;
  std::map<std::string, std::shared_ptr<Kernel>> kernels;
  std::shared_ptr<bool> loaded = std::make_shared<bool>(true);
};

// Objects by handle, so that what is destroyed, or was never made, is found out.
template <class T>
class Handles {
 public:
  template <class Handle>
  void add(Handle* handle, std::shared_ptr<T> object) {
    Guard guard(lock);
    *handle = reinterpret_cast<Handle>(object.get());
    objects_[object.get()] = std::move(object);
  }
  std::shared_ptr<T> get(const void* handle) {
    Guard guard(lock);
    const auto found = objects_.find(handle);
    require(found != objects_.end(), INVALID_HANDLE);
    return found->second;
  }
  std::shared_ptr<T> remove(const void* handle) {
    Guard guard(lock);
    std::shared_ptr<T> object = get(handle);
    objects_.erase(handle);
    return object;
  }
  template <class Look>
  void each(Look look) {
    Guard guard(lock);
    for (auto& [handle, object] : objects_) look(*object);
  }

 private:
  std::map<const void*, std::shared_ptr<T>> objects_;
};

inline Handles<Stream> streams;
inline Handles<Event> events;
inline Handles<Graph> graphs;
inline Handles<Graph> executables;
inline Handles<Library> libraries;
inline Handles<Kernel> kernels;

inline std::atomic<bool> rejects_captures{false};  // any work invalidates a capture

inline void Stream::enqueue(Work work) {
  Guard guard(lock);
  if (capture == nullptr) {
    pending_.push_back(std::move(work));
    return;
  }
  require(capture->valid, CAPTURE_INVALIDATED);
  if (rejects_captures) invalidate();
  capture->nodes.push_back(std::move(work));
}

// A call that may synchronize the GPU ends the captures that do not allow it.
inline void may_synchronize() {
  bool is_allowed = true;
  streams.each([&](Stream& stream) {
    const Capture* capture = stream.capture.get();
    if (capture == nullptr || capture->mode == Mode::RELAXED) return;
    if (capture->mode == Mode::THREAD_LOCAL && capture->thread != std::this_thread::get_id()) return;
    stream.capture->valid = is_allowed = false;
  });
  require(is_allowed, CAPTURE_UNSUPPORTED);
}

}  // namespace pretend
