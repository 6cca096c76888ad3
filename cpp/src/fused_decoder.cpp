#include "fused_decoder.hpp"

#include <algorithm>
#include <utility>

#include "files.hpp"

namespace tacoglow {
namespace {

// In the order of the kernel's arguments; widths by the decoder step's inputs of these names.
constexpr std::array<const char*, 7> state_names = {"attention_hidden", "attention_cell",    "decoder_hidden",
                                                    "decoder_cell",     "attention_weights", "attention_weights_cum",
                                                    "attention_context"};

std::size_t row_width(const Manifest& manifest, const std::string& tensor, const Dims& dims) {
  return element_count(manifest.graphs.at("decoder_step").tensor(tensor).resolve(dims));
}

}  // namespace

FusedDecoder::FusedDecoder(FusedPackage package, std::filesystem::path folder, const Gpu& gpu)
    : folder_(std::move(folder)) {
  weights_ = device_memory(package.weights.size());
  const CudaStream stream = make_stream();
  copy(weights_.get(), address_of(package.weights.data()), package.weights.size(), stream.get(),
       "copy the fused decoder's weights");
  wait_for(stream.get(), "copy the fused decoder's weights");
  const int multiprocessors = gpu.attribute(CudaDriver::multiprocessor_count);
  for (FusedKernel& plan : package.kernels) load(std::move(plan), multiprocessors);
}

// All blocks of a kernel must be resident together: they wait for each other.
void FusedDecoder::load(FusedKernel plan, int multiprocessors) {
  const CudaDriver& driver = cuda_driver();
  CudaModule module = load_module(plan.cubin, "load the fused decoder");
  const CudaFunctionHandle function = find_kernel(module, "fused_decoder");
  const int shared_bytes = static_cast<int>(plan.shared_bytes);
  int each = 0;
  if (driver.cuFuncSetAttribute(function, CudaDriver::max_dynamic_shared_bytes, shared_bytes) == 0)
    check_cuda(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(&each, function, static_cast<int>(plan.threads),
                                                                  static_cast<std::size_t>(shared_bytes)),
               "ask how many blocks are resident");
  const std::int64_t resident = std::int64_t{each} * multiprocessors;
  if (resident < plan.blocks)
    throw backend_error(to_name(folder_) + ": the fused decoder needs " + std::to_string(plan.blocks) + " blocks of " +
                        std::to_string(plan.threads) + " threads and " + std::to_string(plan.shared_bytes) +
                        " bytes of shared memory at once; " + std::to_string(resident) + " fit on this GPU");
  plan.cubin.clear();
  kernels_.push_back({std::move(plan), std::move(module), function});
}

const FusedDecoder::Kernel& FusedDecoder::kernel(std::int64_t items, std::int64_t tokens) const {
  const Kernel* chosen = nullptr;
  for (const Kernel& kernel : kernels_) {  // fewest items and tokens first
    if (kernel.plan.tokens < tokens) continue;
    if (kernel.plan.batch >= items) return kernel;
    if (chosen == nullptr || kernel.plan.batch > chosen->plan.batch) chosen = &kernel;
  }
  return *chosen;  // a package has kernels for all tokens
}

FusedBuffers::FusedBuffers(const FusedDecoder& decoder, const FusedDecoder::Kernel& kernel, const Manifest& manifest,
                           std::int64_t tokens, std::int64_t steps, CudaStreamHandle stream)
    : decoder_(decoder), kernel_(kernel), tokens_(tokens), steps_(steps), stream_(stream) {
  const Dims row = {{'B', 1}, {'T', tokens}};
  const auto batch = static_cast<std::size_t>(items());
  const auto width_of = [&](const char* tensor) { return row_width(manifest, tensor, row); };
  memory_bytes_ = width_of("memory") * sizeof(float);
  processed_bytes_ = width_of("processed_memory") * sizeof(float);
  memory_ = device_memory(batch * memory_bytes_);
  processed_ = device_memory(batch * processed_bytes_);
  lengths_ = device_memory(batch * sizeof(std::int32_t));
  keys_ = device_memory(batch * sizeof(Noise::Key));
  progress_ = device_memory((1 + batch) * sizeof(std::int32_t));
  for (std::size_t i = 0; i < n_states; ++i) {
    state_bytes_[i] = width_of(state_names[i]) * sizeof(float);
    states_[i] = device_memory(batch * state_bytes_[i]);
  }
  widths_ = {width_of("mel_frame"), width_of("gate_logit"), width_of(attention_output)};
  for (const Result result : {mel, gate_logits, attention_weights}) {
    results_[result] = device_memory(result_bytes(result));
    for (Slot& slot : slots_) slot.results[result] = pinned_memory(result_bytes(result));
  }
  for (Slot& slot : slots_) slot.done = make_event();
  const auto workspace_bytes = static_cast<std::size_t>(kernel_.plan.workspace_bytes);
  workspace_ = device_memory(workspace_bytes);  // each launch leaves it ready for the next
  clear(workspace_.get(), workspace_bytes, stream_, "clear the workspace");
}

std::size_t FusedBuffers::result_bytes(Result result) const {
  return static_cast<std::size_t>(steps_ * items()) * widths_[result] * sizeof(float);
}

void FusedBuffers::upload(CudaAddress target, const void* source, std::size_t bytes) const {
  copy(target, address_of(source), bytes, stream_, "begin an utterance");
}

void FusedBuffers::clear_item(std::int64_t item) {
  constexpr std::int32_t length = 1;
  const auto index = static_cast<std::size_t>(item);
  const auto zero = [&](const DeviceMemory& target, std::size_t bytes) {
    clear(target.get() + index * bytes, bytes, stream_, "clear an item");
  };
  zero(memory_, memory_bytes_);
  zero(processed_, processed_bytes_);
  zero(keys_, sizeof(Noise::Key));
  for (std::size_t i = 0; i < n_states; ++i) zero(states_[i], state_bytes_[i]);
  upload(lengths_.get() + index * sizeof length, &length, sizeof length);
}

void FusedBuffers::reset(std::int64_t item, const Tensors& encoded, std::int64_t row, const Noise& noise) {
  clear_item(item);  // with it what lies beyond the tokens of the row
  constexpr std::int32_t running = -1;
  const auto index = static_cast<std::size_t>(item), from = static_cast<std::size_t>(row);
  const auto row_of = [&](const char* name, std::size_t& bytes) {
    const Tensor& tensor = encoded.at(name);
    bytes = tensor.size_bytes() / static_cast<std::size_t>(tensor.shape()[0]);
    return tensor.as<unsigned char>() + from * bytes;
  };
  std::size_t bytes = 0;
  const auto* memory = row_of("memory", bytes);
  upload(memory_.get() + index * memory_bytes_, memory, bytes);
  const auto* processed = row_of("processed_memory", bytes);
  upload(processed_.get() + index * processed_bytes_, processed, bytes);
  const auto* padding = row_of("memory_mask", bytes);
  const auto length = static_cast<std::int32_t>(std::count(padding, padding + bytes, 0));
  upload(lengths_.get() + index * sizeof length, &length, sizeof length);
  upload(keys_.get() + index * sizeof(Noise::Key), noise.key().data(), sizeof(Noise::Key));
  upload(progress_.get() + (1 + index) * sizeof running, &running, sizeof running);
}

void FusedBuffers::enqueue(std::size_t slot, std::int64_t first_step, float gate_logit, CudaAddress rows) {
  const FusedKernel& plan = kernel_.plan;
  std::array<CudaAddress, 5 + n_states + n_results + 2> pointers = {decoder_.weights(), memory_.get(), processed_.get(),
                                                                    lengths_.get(), keys_.get()};
  auto tokens = static_cast<int>(tokens_), steps = static_cast<int>(steps_), first = static_cast<int>(first_step);
  CudaAddress none = 0;  // dropout, which is drawn from the keys; and the trace
  std::vector<void*> arguments = {&pointers[0], &pointers[1], &pointers[2], &pointers[3], &tokens,
                                  &pointers[4], &none,        &steps,       &first,       &gate_logit};
  std::size_t n = 5;
  const auto pass = [&](const DeviceMemory& memory) {
    pointers[n] = memory.get();
    arguments.push_back(&pointers[n++]);
  };
  for (const auto& state : states_) pass(state);
  for (const auto& result : results_) pass(result);
  pass(progress_);
  pass(workspace_);
  arguments.insert(arguments.end(), {&none, &rows});
  check_cuda(cuda_driver().cuLaunchCooperativeKernel(
                 kernel_.function, static_cast<unsigned>(plan.blocks), 1, 1, static_cast<unsigned>(plan.threads), 1, 1,
                 static_cast<unsigned>(plan.shared_bytes), stream_, arguments.data()),
             "launch the fused decoder");
  for (const Result result : {mel, gate_logits, attention_weights})
    copy(address_of(slots_[slot].results[result]), results_[result].get(), result_bytes(result), stream_,
         "copy a chunk of steps");
}

void FusedBuffers::record(std::size_t slot) {
  check_cuda(cuda_driver().cuEventRecord(slots_[slot].done.get(), stream_), "record an event");
}

void FusedBuffers::wait(std::size_t slot) const {
  try {
    check_cuda(cuda_driver().cuEventSynchronize(slots_[slot].done.get()), "fused decoder steps");
  } catch (const Error& error) {
    throw backend_error(std::string("decoder_step: ") + error.what() +
                        "; this process cannot use the GPU any more; delete " + to_name(decoder_.folder()) +
                        " to decode with the engine");
  }
}

}  // namespace tacoglow
