// How the simulated driver puts work on a simulated stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>

namespace simulated {

// Enqueues work, which runs when it is waited on.
void enqueue(cudaStream_t stream, std::function<void()> work);

// Aborts the program unless this is memory of the simulated GPU.
void require_device(const void* memory, std::size_t bytes);

}  // namespace simulated
