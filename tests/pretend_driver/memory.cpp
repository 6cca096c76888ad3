// Memory of the GPU and pinned memory: allocating, copying, filling.

#include "calls.h"

using namespace pretend;

namespace {

Handle const POOL = reinterpret_cast<Handle>(0x7001);
uint64_t release_threshold = 0;

void check_is_held(const void* address, size_t bytes) {
  size_t left = bytes;
  require(memory.find(address, &left) == nullptr || bytes <= left, INVALID_VALUE);
}

// Reads pageable memory at once, everything else when the work runs.
void copy(Stream& stream, void* target, const void* source, size_t bytes) {
  check_is_held(target, bytes);
  check_is_held(source, bytes);
  const bool from_pageable = memory.find(source) == nullptr, to_pageable = memory.find(target) == nullptr;
  if (stream.capture != nullptr && (from_pageable || to_pageable)) stream.invalidate();
  std::shared_ptr<char[]> staged;
  if (from_pageable) {
    staged.reset(new char[bytes]);
    std::memcpy(staged.get(), source, bytes);
  }
  stream.enqueue([=] {
    require(from_pageable || memory.holds(source, bytes), ILLEGAL_ADDRESS);
    require(to_pageable || memory.holds(target, bytes), ILLEGAL_ADDRESS);
    std::memcpy(target, from_pageable ? staged.get() : source, bytes);
  });
}

struct Copy2D {  // CUDA_MEMCPY2D
  size_t source_x, source_y;
  int source_type;
  const void* source_host;
  Pointer source;
  Handle source_array;
  size_t source_pitch, target_x, target_y;
  int target_type;
  void* target_host;
  Pointer target;
  Handle target_array;
  size_t target_pitch, width, height;
};

void* allocate_in_order(Stream& stream, size_t bytes) {
  if (stream.capture != nullptr) stream.invalidate();  // legal, but then the graph owns the memory
  return memory.allocate(bytes, true);
}

}  // namespace

extern "C" {

CUresult cuMemAllocAsync(Pointer* address, size_t bytes, Handle stream) {
  return call(__func__, [&] { *address = reinterpret_cast<Pointer>(allocate_in_order(*stream_here(stream), bytes)); });
}
CUresult cuMemAllocFromPoolAsync(Pointer* address, size_t bytes, Handle, Handle stream) {
  return call(__func__, [&] { *address = reinterpret_cast<Pointer>(allocate_in_order(*stream_here(stream), bytes)); });
}
CUresult cuMemFreeAsync(Pointer address, Handle handle) {
  return release(__func__, [&] {
    const auto stream = find_stream(handle);
    if (stream->capture != nullptr) stream->invalidate();
    stream->enqueue([=] { memory.free(reinterpret_cast<void*>(address)); });
  });
}
CUresult cuMemAlloc_v2(Pointer* address, size_t bytes) {
  return call(__func__, [&] {
    need_context();
    may_synchronize();
    *address = reinterpret_cast<Pointer>(memory.allocate(bytes, true));
  });
}
CUresult cuMemFree_v2(Pointer address) {
  return release(__func__, [&] {
    need_context();
    may_synchronize();
    memory.free(reinterpret_cast<void*>(address));
  });
}
CUresult cuMemAllocHost_v2(void** address, size_t bytes) {
  return call(__func__, [&] {
    need_context();
    may_synchronize();
    *address = memory.allocate(bytes, false);
  });
}
CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned) { return cuMemAllocHost_v2(address, bytes); }
CUresult cuMemFreeHost(void* address) {
  return release(__func__, [&] { memory.free(address); });
}
CUresult cuMemcpyAsync(Pointer target, Pointer source, size_t bytes, Handle stream) {
  return call(__func__, [&] {
    copy(*stream_here(stream), reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), bytes);
  });
}
CUresult cuMemcpy2DAsync_v2(const Copy2D* rows, Handle stream) {
  return call(__func__, [&] {
    const Copy2D c = *rows;
    constexpr int UNIFIED = 4;
    require(c.source_type == UNIFIED && c.target_type == UNIFIED, INVALID_VALUE);
    require(c.width <= c.source_pitch && c.width <= c.target_pitch && c.height > 0, INVALID_VALUE);
    const auto at = [](Pointer start, size_t x, size_t y, size_t pitch) {
      return reinterpret_cast<char*>(start + y * pitch + x);
    };
    const char* source = at(c.source, c.source_x, c.source_y, c.source_pitch);
    char* target = at(c.target, c.target_x, c.target_y, c.target_pitch);
    const auto check = [=](int status) {  // pageable memory is copied otherwise
      require(memory.holds(source, (c.height - 1) * c.source_pitch + c.width), status);
      require(memory.holds(target, (c.height - 1) * c.target_pitch + c.width), status);
    };
    check(INVALID_VALUE);
    stream_here(stream)->enqueue([=] {
      check(ILLEGAL_ADDRESS);
      for (size_t y = 0; y < c.height; ++y)
        std::memcpy(target + y * c.target_pitch, source + y * c.source_pitch, c.width);
    });
  });
}
CUresult cuMemsetD8Async(Pointer target, unsigned char value, size_t bytes, Handle stream) {
  return call(__func__, [&] {
    void* address = reinterpret_cast<void*>(target);
    require(memory.holds(address, bytes), INVALID_VALUE);
    stream_here(stream)->enqueue([=] {
      require(memory.holds(address, bytes), ILLEGAL_ADDRESS);
      std::memset(address, value, bytes);
    });
  });
}
CUresult cuPointerGetAttributes(unsigned count, int* wanted, void** values, Pointer address) {
  return call(__func__, [&] {
    constexpr int MEMORY_TYPE = 2, HOST = 1, DEVICE = 2;
    const Memory::Block* block = memory.find(reinterpret_cast<void*>(address));
    for (unsigned i = 0; i < count; ++i) {
      const bool is_type = wanted[i] == MEMORY_TYPE && block != nullptr;
      *static_cast<int*>(values[i]) = is_type ? (block->is_device ? DEVICE : HOST) : 0;
    }
  });
}
CUresult cuPointerGetAttribute(void* value, int attribute, Pointer address) {
  return cuPointerGetAttributes(1, &attribute, &value, address);
}
CUresult cuDeviceGetDefaultMemPool(Handle* pool, int) {
  return call(__func__, [&] { *pool = POOL; });
}
CUresult cuDeviceGetMemPool(Handle* pool, int) {
  return call(__func__, [&] { *pool = POOL; });
}
CUresult cuMemPoolGetAttribute(Handle, int, uint64_t* value) {
  return call(__func__, [&] { *value = release_threshold; });
}
CUresult cuMemPoolSetAttribute(Handle, int, uint64_t* value) {
  return call(__func__, [&] { release_threshold = *value; });
}
CUresult cuMemPoolSetAccess(Handle, const void*, size_t) {
  return call(__func__, [] {});
}
CUresult cuMemPoolGetAccess(int* flags, Handle, void*) {
  return call(__func__, [&] { *flags = 3; });  // read and write
}
}
