// One launch of fused_decoder on the CPU, for ctypes and for the pretended driver.

#include "cuda_emulation.h"

#include "kernels.h"

#include "fused_decoder.cu"

namespace {

template <class Kernel>
const char* emulate(unsigned long long seed, Kernel kernel) {
  static std::string failure;
  try {
    emulation::Machine(BLOCKS, THREADS, SHARED_BYTES, seed).run(kernel);
  } catch (const std::exception& error) {
    failure = error.what();
    return failure.c_str();
  }
  return nullptr;
}

const char* launch_emulated(const pretend::Launch& launch, const std::function<void()>& kernel) {
  static unsigned long long launches = 0;
  if (launch.grid[0] != BLOCKS || launch.block[0] != THREADS || launch.shared_bytes != SHARED_BYTES)
    return "launched with another size than it was compiled for";
  return emulate(launches++, kernel);
}

}  // namespace

EMULATED_KERNEL(fused_decoder, launch_emulated)

extern "C" void remove_line(int line) { emulation::missing_line = line; }

static unsigned* trace = nullptr;  // of a kernel compiled with TRACE
extern "C" void trace_into(unsigned* buffer) { trace = buffer; }

extern "C" const char* emulate_launch(unsigned long long seed, const unsigned char* packed, const float* memory,
                                      const float* processed_memory, const int* lengths, int tokens,
                                      const unsigned long long* noise_keys, const float* prenet_dropout, int steps,
                                      int first_step, float gate_threshold, float* attention_hidden,
                                      float* attention_cell, float* decoder_hidden, float* decoder_cell,
                                      float* attention_weights, float* attention_weights_cum, float* attention_context,
                                      float* mel, float* gate_logits, float* alignments, int* progress,
                                      void* workspace) {
  return emulate(seed, [&] {
    fused_decoder(packed, memory, processed_memory, lengths, tokens, noise_keys, prenet_dropout, steps, first_step,
                  gate_threshold, attention_hidden, attention_cell, decoder_hidden, decoder_cell, attention_weights,
                  attention_weights_cum, attention_context, mel, gate_logits, alignments, progress,
                  static_cast<Workspace*>(workspace), trace, nullptr);
  });
}
