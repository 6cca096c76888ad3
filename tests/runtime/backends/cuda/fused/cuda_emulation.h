// Runs a CUDA kernel on the CPU, one fiber a thread, to test what is between the threads.
//
// Blocks, warps and lanes are scheduled in an order drawn from a seed. A thread runs until it waits: for its warp
// (shuffles, votes, products), for its block (__syncthreads), or for a place in global memory that it polls to change.
// What is stored with store_value becomes visible late and in any order (at one address in its own), as the memory
// model allows; a kernel that infers one value's arrival from another's, or lacks a barrier, computes something else
// under some seed, or waits for ever, which is found out and reported.
//
// Not emulated: stale reads of ordinary memory, bank conflicts, time. Linux on x86-64 only.
#pragma once

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#define CUDA_EMULATION
#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__

struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct alignas(8) uint2 { uint32_t x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) ulonglong2 { unsigned long long x, y; };
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

// Saves the callee's registers on the stack, keeps its top in *save, and goes on where `load` was saved.
extern "C" void emulation_switch(void** save, void* load);
asm(R"(
.text
.globl emulation_switch
.type emulation_switch, @function
emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulation_switch, .-emulation_switch
)");

namespace emulation {

constexpr int LANES = 32;
constexpr std::size_t STACK_BYTES = 64 << 10;

inline int missing_line = 0;

struct Index { unsigned x; };

struct Fiber {
  void* stack = nullptr;  // top, while it does not run
  int block = 0, thread = 0;
  bool ready = true, done = false;
  int collectives = 0;  // of its warp, that it has come to
  uint64_t sleep = 0;   // which of its sleeps it is in
  struct { const void* address; uint64_t clock; int times; } polled[17] = {};  // by place, modulo a prime: neighbours differ
};

struct Warp {
  int arrived = 0;
  const char* collective = nullptr;  // what its lanes have come to
  const void* operands[2][LANES];    // by parity of the collective: a lane may reach the next while another reads
  uint64_t values[2][LANES];
  bool queued = false;
};

struct Block {
  int arrived = 0;
  std::vector<uint64_t> shared;
};

struct Store {
  void* address;
  uint64_t word;
  int bytes;
  int block;  // that stored it
};

struct Sleeper {
  Fiber* fiber;
  uint64_t sleep;
};

class Machine {
 public:
  Machine(int blocks, int threads, std::size_t shared_bytes, uint64_t seed)
      : threads_(threads), random_(seed), blocks_(blocks), warps_(blocks * threads / LANES), fibers_(blocks * threads) {
    stacks_bytes_ = fibers_.size() * STACK_BYTES;
    stacks_ = static_cast<char*>(mmap(nullptr, stacks_bytes_, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stacks_ == MAP_FAILED) throw std::runtime_error("no memory for stacks");
    for (auto& block : blocks_) {
      block.shared.resize(shared_bytes / 8 + 32);
      for (auto& word : block.shared) word = 0x7ff7a5a57fbfa5a5;  // NaN, to show what is read before it is written
    }
  }
  ~Machine() { munmap(stacks_, stacks_bytes_); }

  static Machine*& current() {
    static Machine* machine = nullptr;
    return machine;
  }

  // Throws std::runtime_error where the threads wait for each other for ever, or disagree about what they wait for.
  void run(const std::function<void()>& kernel) {
    current() = this;
    kernel_ = &kernel;
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      fibers_[i].block = static_cast<int>(i) / threads_;
      fibers_[i].thread = static_cast<int>(i) % threads_;
      auto* top = reinterpret_cast<void**>(stacks_ + (i + 1) * STACK_BYTES) - 2;
      *--top = nullptr;                                // the entry's return address: aligns the stack
      *--top = reinterpret_cast<void*>(&Machine::enter);
      fibers_[i].stack = top - 6;                      // registers: whatever
    }
    for (std::size_t i = 0; i < warps_.size(); ++i) queue(i);
    while (finished_ < fibers_.size()) {
      if (!pending_.empty() && (queue_.empty() || random_() % 2)) commit_any();
      if (queue_.empty()) {
        if (pending_.empty()) wake_all();
        continue;
      }
      run_warp(take());
      if (!failure_.empty()) throw std::runtime_error(failure_);
    }
    while (!pending_.empty()) commit(0);
    current() = nullptr;
  }

  Fiber& fiber() { return *running_; }
  Warp& warp() { return warps_[(running_->block * threads_ + running_->thread) / LANES]; }
  int lane() { return running_->thread % LANES; }

  unsigned char* shared() {
    auto address = reinterpret_cast<std::uintptr_t>(blocks_[running_->block].shared.data());
    return reinterpret_cast<unsigned char*>((address + 127) / 128 * 128);
  }

  // All lanes come, the last one runs `work`, then all go on. Returns the parity of this collective.
  template <class Work>
  int collect(const char* name, const void* operand, uint64_t value, Work work) {
    Warp& here = warp();
    const int parity = running_->collectives++ % 2;
    here.operands[parity][lane()] = operand;
    here.values[parity][lane()] = value;
    if (here.arrived == 0) here.collective = name;
    if (std::strcmp(here.collective, name) != 0) fail("lanes of a warp have come to different operations");
    if (++here.arrived < LANES) {
      wait();
      return parity;
    }
    here.arrived = 0;
    ++progress_;
    work(here, parity);
    Fiber* first = &fibers_[running_->block * threads_ + running_->thread / LANES * LANES];
    for (int i = 0; i < LANES; ++i) first[i].ready = true;
    return parity;
  }

  void synchronize_block(int line) {
    if (line == missing_line) return;
    Block& block = blocks_[running_->block];
    if (++block.arrived < threads_) return wait();
    block.arrived = 0;
    ++progress_;
    const std::size_t first = static_cast<std::size_t>(running_->block) * threads_;
    for (int i = 0; i < threads_; ++i) fibers_[first + i].ready = true;
    for (int i = 0; i < threads_ / LANES; ++i) queue(first / LANES + i);
  }

  void store(void* address, uint64_t word, int bytes) {
    ++progress_;
    pending_.push_back({address, word, bytes, running_->block});
  }

  // Adds one, after everything that the thread's block has stored has become visible.
  void release_add_one(uint32_t* address) {
    const int block = running_->block;
    for (std::size_t i = 0; i < pending_.size();) {
      if (pending_[i].block == block) {
        commit(i);  // in the order of storing
      } else {
        ++i;
      }
    }
    pending_.push_back({address, *address + 1, 4, block});
    commit(pending_.size() - 1);
    ++progress_;
  }

  // A thread that loads addresses again and again in vain sleeps until something is stored near one of them.
  void poll(const void* address) {
    const uint64_t place = reinterpret_cast<std::uintptr_t>(address) / 16;
    auto& seen = running_->polled[place % 17];
    const bool again = seen.address == address && changed_[place] <= seen.clock;
    const int times = again ? seen.times + 1 : 0;
    if (times > 3) {
      sleep();
    } else if (random_() % 8 == 0) {
      give_way();
    }
    seen = {address, clock_, times > 3 ? 0 : times};
  }

  void fail(const char* what) {
    failure_ = what;
    wait();
  }

 private:
  static void enter() {
    Machine* machine = current();
    (*machine->kernel_)();
    machine->running_->done = true;
    machine->finished_++;
    machine->wait();
  }

  void wait() {
    running_->ready = false;
    emulation_switch(&running_->stack, scheduler_);
  }

  void give_way() { emulation_switch(&running_->stack, scheduler_); }

  void sleep() {
    running_->sleep = ++sleeps_;
    for (auto& seen : running_->polled) {
      if (seen.address == nullptr) continue;
      sleeping_[reinterpret_cast<std::uintptr_t>(seen.address) / 16].push_back({running_, sleeps_});
      seen.times = 0;
    }
    wait();
  }

  // Those who sleep may only have looked at one word often, each time with success.
  void wake_all() {
    if (progress_ == progress_at_waking_) throw std::runtime_error("deadlock: every thread waits");
    progress_at_waking_ = progress_;
    for (const auto& [place, sleepers] : sleeping_) wake(sleepers);
    sleeping_.clear();
  }

  void wake(const std::vector<Sleeper>& sleepers) {
    for (const auto& [fiber, sleep] : sleepers) {
      if (fiber->sleep != sleep) continue;  // it has been woken from that one
      fiber->sleep = 0;
      fiber->ready = true;
      queue(static_cast<std::size_t>(fiber->block * threads_ + fiber->thread) / LANES);
    }
  }

  void queue(std::size_t warp) {
    if (warps_[warp].queued) return;
    warps_[warp].queued = true;
    queue_.push_back(warp);
  }

  std::size_t take() {
    if (taken_++ % 4096 == 0) starve();
    std::size_t i = random_() % queue_.size();
    for (int tries = 0; tries < 16 && is_starved(queue_[i]); ++tries) i = random_() % queue_.size();
    std::swap(queue_[i], queue_.back());
    const std::size_t warp = queue_.back();
    queue_.pop_back();
    warps_[warp].queued = false;
    return warp;
  }

  // One block or warp is slow for a while, then another: what all others can do without it, they do.
  void starve() {
    starved_count_ = random_() % 2 ? static_cast<std::size_t>(threads_) / LANES : 1;
    starved_first_ = random_() % (warps_.size() / starved_count_) * starved_count_;
  }
  bool is_starved(std::size_t warp) { return warp - starved_first_ < starved_count_; }

  void run_warp(std::size_t warp) {
    const unsigned start = random_() % LANES;
    bool ready = false;
    for (unsigned i = 0; i < LANES && failure_.empty(); ++i) {
      Fiber& fiber = fibers_[warp * LANES + (start + i) % LANES];
      if (!fiber.ready || fiber.done) continue;
      running_ = &fiber;
      emulation_switch(&scheduler_, fiber.stack);
    }
    for (unsigned i = 0; i < LANES; ++i) ready |= fibers_[warp * LANES + i].ready && !fibers_[warp * LANES + i].done;
    if (ready) queue(warp);
  }

  void commit_any() {
    std::size_t i = random_() % pending_.size();
    for (std::size_t before = 0; before < i; ++before) {
      if (pending_[before].address == pending_[i].address) i = before;
    }
    commit(i);
  }

  void commit(std::size_t i) {
    const Store store = pending_[i];
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
    std::memcpy(store.address, &store.word, static_cast<std::size_t>(store.bytes));
    const uint64_t place = reinterpret_cast<std::uintptr_t>(store.address) / 16;
    changed_[place] = ++clock_;
    const auto sleeping = sleeping_.find(place);
    if (sleeping == sleeping_.end()) return;
    wake(sleeping->second);
    sleeping_.erase(sleeping);
  }

  int threads_;
  std::mt19937_64 random_;
  std::vector<Block> blocks_;
  std::vector<Warp> warps_;
  std::vector<Fiber> fibers_;
  char* stacks_ = nullptr;
  std::size_t stacks_bytes_ = 0, finished_ = 0, taken_ = 0, starved_first_ = 0, starved_count_ = 0;
  const std::function<void()>* kernel_ = nullptr;
  Fiber* running_ = nullptr;
  void* scheduler_ = nullptr;
  std::vector<std::size_t> queue_;  // warps with lanes that can run
  std::vector<Store> pending_;
  uint64_t clock_ = 0, sleeps_ = 0, progress_ = 0, progress_at_waking_ = ~0ull;
  std::unordered_map<uint64_t, uint64_t> changed_;                 // when, by place
  std::unordered_map<uint64_t, std::vector<Sleeper>> sleeping_;  // by place
  std::string failure_;
};

inline Machine& machine() { return *Machine::current(); }
inline Index thread_index() { return {static_cast<unsigned>(machine().fiber().thread)}; }
inline Index block_index() { return {static_cast<unsigned>(machine().fiber().block)}; }

template <class Value>
Value exchanged(const char* name, Value value, const std::function<int(int)>& source_of) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  const int parity = machine().collect(name, nullptr, bits, [](Warp&, int) {});
  const int source = source_of(machine().lane());
  bits = machine().warp().values[parity][source < LANES ? source : machine().lane()];
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float half_to_float(uint32_t bits) { return _cvtsh_ss(static_cast<unsigned short>(bits)); }

struct Product {
  float* sum;
  uint4 a;
  uint2 b;
};

inline void multiply_tiles(Warp& warp, int parity) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < LANES; ++lane) {
    const auto& product = *static_cast<const Product*>(warp.operands[parity][lane]);
    const int group = lane / 4, pair = lane % 4 * 2;
    const uint32_t rows[4] = {product.a.x, product.a.y, product.a.z, product.a.w};
    const uint32_t columns[2] = {product.b.x, product.b.y};
    for (int i = 0; i < 8; ++i) {
      a[group + i / 2 % 2 * 8][pair + i % 2 + i / 4 * 8] = half_to_float(rows[i / 2] >> i % 2 * 16 & 0xffff);
    }
    for (int i = 0; i < 4; ++i) b[pair + i % 2 + i / 2 * 8][group] = half_to_float(columns[i / 2] >> i % 2 * 16 & 0xffff);
  }
  float result[16][8] = {};
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) result[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < LANES; ++lane) {
    const auto& product = *static_cast<const Product*>(warp.operands[parity][lane]);
    for (int i = 0; i < 4; ++i) product.sum[i] += result[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

}  // namespace emulation

#define threadIdx (emulation::thread_index())
#define blockIdx (emulation::block_index())

// Where emulation::missing_line is this line, the barrier is missing: a planted fault.
#define __syncthreads() emulation::machine().synchronize_block(__LINE__)
inline void __syncwarp() {
  emulation::machine().collect("__syncwarp", nullptr, 0, [](emulation::Warp&, int) {});
}
template <class Value>
Value __shfl_xor_sync(unsigned, Value value, int mask) {
  return emulation::exchanged("__shfl_xor_sync", value, [=](int lane) { return lane ^ mask; });
}
template <class Value>
Value __shfl_down_sync(unsigned, Value value, int distance) {
  return emulation::exchanged("__shfl_down_sync", value, [=](int lane) { return lane + distance; });
}
inline bool __any_sync(unsigned, bool value) {
  const int parity = emulation::machine().collect("__any_sync", nullptr, value, [](emulation::Warp&, int) {});
  const auto& values = emulation::machine().warp().values[parity];
  return std::any_of(values, values + emulation::LANES, [](uint64_t v) { return v != 0; });
}
inline bool __all_sync(unsigned, bool value) {
  const int parity = emulation::machine().collect("__all_sync", nullptr, value, [](emulation::Warp&, int) {});
  const auto& values = emulation::machine().warp().values[parity];
  return std::all_of(values, values + emulation::LANES, [](uint64_t v) { return v != 0; });
}

inline uint32_t __float_as_uint(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float __uint_as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<uint32_t>(bits)); }

// The functions that fused_decoder.cu has in PTX.
inline int thread_index() { return static_cast<int>(threadIdx.x); }
inline unsigned char* shared_memory() { return emulation::machine().shared(); }
template <class Values>
Values load_values(const Values* address) {
  emulation::machine().poll(address);
  return *address;
}
template <class Value>
void store_value(Value* address, Value value) {
  emulation::machine().store(address, value, sizeof value);
}
inline void release_add_one(uint32_t* address) { emulation::machine().release_add_one(address); }
inline uint32_t load_acquire(const uint32_t* address) { return load_values(address); }
template <class Value>
Value load_weights(const Value* address) {
  return *address;
}
inline void multiply(float (&sum)[4], uint4 a, uint2 b) {
  const emulation::Product product{sum, a, b};
  emulation::machine().collect("multiply", &product, 0, emulation::multiply_tiles);
}
inline uint32_t to_half(float value) { return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }
inline float from_half(uint32_t bits) { return emulation::half_to_float(bits); }
inline float power_of_two(float x) { return std::exp2(x); }
inline float reciprocal(float x) { return 1.f / x; }
inline uint32_t clocks() {
  static uint32_t now = 0;
  return ++now;
}
inline void give_up() { emulation::machine().fail("a poll saw nothing for too long"); }
