#include "fused_steps.hpp"

#include <algorithm>
#include <utility>

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
    throw backend_error(folder_.string() + ": the fused decoder needs " + std::to_string(plan.blocks) + " blocks of " +
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

FusedGroup::FusedGroup(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims, CudaStreamHandle stream)
    : decoder_(decoder),
      kernel_(decoder.kernel(dims.at('B'), dims.at('T'))),
      stream_(stream),
      items_(std::min(dims.at('B'), kernel_.plan.batch)),
      tokens_(dims.at('T')) {
  const Dims row = {{'B', 1}, {'T', tokens_}};
  const auto floats = [&](std::size_t count) { return device_memory(count * sizeof(float)); };
  const auto batch = static_cast<std::size_t>(rows());
  const auto width_of = [&](const char* tensor) { return row_width(manifest, tensor, row); };
  memory_ = floats(batch * width_of("memory"));
  processed_ = floats(batch * width_of("processed_memory"));
  lengths_ = device_memory(batch * sizeof(std::int32_t));
  keys_ = device_memory(batch * sizeof(Noise::Key));
  progress_ = device_memory((1 + batch) * sizeof(std::int32_t));
  for (std::size_t i = 0; i < n_states; ++i) {
    state_bytes_[i] = batch * width_of(state_names[i]) * sizeof(float);
    states_[i] = device_memory(state_bytes_[i]);
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

std::size_t FusedGroup::result_bytes(Result result) const {
  return static_cast<std::size_t>(chunk_steps * rows()) * widths_[result] * sizeof(float);
}

const float* FusedGroup::results(std::size_t slot, Result result) const {
  return static_cast<const float*>(slots_[slot].results[result].get());
}

template <typename T>
void FusedGroup::upload(const DeviceMemory& target, const std::vector<T>& source) {
  copy(target.get(), address_of(source.data()), source.size() * sizeof(T), stream_, "begin an utterance");
}

// Rows of a tensor [B, ...] for the kernel's: those of items first, first + 1, … of the batch.
std::vector<char> FusedGroup::rows_of(const Tensor& tensor, std::size_t first) const {
  const std::size_t row = tensor.size_bytes() / static_cast<std::size_t>(tensor.shape()[0]);
  std::vector<char> rows_of_items;
  for (std::int64_t i = 0; i < rows(); ++i) {
    const auto* source = static_cast<const char*>(tensor.data()) + (first + item_of(i)) * row;
    rows_of_items.insert(rows_of_items.end(), source, source + row);
  }
  return rows_of_items;
}

void FusedGroup::reset(const DecoderInput& input, std::size_t first) {
  gate_logit_ = input.gate_logit;
  const std::vector<char> memory = rows_of(input.encoded.at("memory"), first);
  const std::vector<char> processed = rows_of(input.encoded.at("processed_memory"), first);
  const std::vector<char> padding = rows_of(input.encoded.at("memory_mask"), first);
  std::vector<std::int32_t> lengths;
  std::vector<Noise::Key> keys;
  for (std::int64_t i = 0; i < rows(); ++i) {
    const auto begin = padding.begin() + i * tokens_;
    lengths.push_back(static_cast<std::int32_t>(std::count(begin, begin + tokens_, 0)));
    keys.push_back(input.noises[first + item_of(i)].key());
  }
  const std::vector<std::int32_t> none(1 + lengths.size(), -1);
  upload(memory_, memory);
  upload(processed_, processed);
  upload(lengths_, lengths);
  upload(keys_, keys);
  upload(progress_, none);
  for (std::size_t i = 0; i < n_states; ++i) clear(states_[i].get(), state_bytes_[i], stream_, "clear a state");
  wait_for(stream_, "begin an utterance");  // the copies read variables of this function
}

void FusedGroup::launch(std::size_t slot, std::int64_t first_step) {
  const FusedKernel& plan = kernel_.plan;
  std::array<CudaAddress, 5 + n_states + n_results + 2> pointers = {decoder_.weights(), memory_.get(), processed_.get(),
                                                                    lengths_.get(), keys_.get()};
  auto tokens = static_cast<int>(tokens_), steps = static_cast<int>(chunk_steps), first = static_cast<int>(first_step);
  CudaAddress none = 0;  // dropout, which is drawn from the keys; the trace; and rows with steps of their own
  std::vector<void*> arguments = {&pointers[0], &pointers[1], &pointers[2], &pointers[3], &tokens,
                                  &pointers[4], &none,        &steps,       &first,       &gate_logit_};
  std::size_t n = 5;
  const auto pass = [&](const DeviceMemory& memory) {
    pointers[n] = memory.get();
    arguments.push_back(&pointers[n++]);
  };
  for (const auto& state : states_) pass(state);
  for (const auto& result : results_) pass(result);
  pass(progress_);
  pass(workspace_);
  arguments.insert(arguments.end(), {&none, &none});
  check_cuda(cuda_driver().cuLaunchCooperativeKernel(
                 kernel_.function, static_cast<unsigned>(plan.blocks), 1, 1, static_cast<unsigned>(plan.threads), 1, 1,
                 static_cast<unsigned>(plan.shared_bytes), stream_, arguments.data()),
             "launch the fused decoder");
  Slot& own = slots_[slot];
  for (const Result result : {mel, gate_logits, attention_weights})
    copy(address_of(own.results[result]), results_[result].get(), result_bytes(result), stream_,
         "copy a chunk of steps");
  check_cuda(cuda_driver().cuEventRecord(own.done.get(), stream_), "record an event");
}

void FusedGroup::wait(std::size_t slot) {
  try {
    check_cuda(cuda_driver().cuEventSynchronize(slots_[slot].done.get()), "fused decoder steps");
  } catch (const Error& error) {
    throw backend_error(std::string("decoder_step: ") + error.what() +
                        "; this process cannot use the GPU any more; delete " + decoder_.folder().string() +
                        " to decode with the engine");
  }
}

FusedGroups make_groups(const FusedDecoder& decoder, const Manifest& manifest, const Dims& dims,
                        CudaStreamHandle stream) {
  FusedGroups groups;
  for (std::int64_t left = dims.at('B'); left > 0; left -= groups.back().items())
    groups.emplace_back(decoder, manifest, Dims{{'B', left}, {'T', dims.at('T')}}, stream);
  return groups;
}

FusedSteps::FusedSteps(FusedGroups& groups, const DecoderInput& input) : groups_(groups) {
  std::size_t first = 0;
  for (FusedGroup& group : groups_) {
    group.reset(input, first);
    first += static_cast<std::size_t>(group.items());
  }
}

void FusedSteps::launch() {
  const auto first_step = static_cast<std::int64_t>(launched_) * chunk_steps();
  const std::size_t slot = launched_++ % FusedGroup::n_slots;
  for (FusedGroup& group : groups_) group.launch(slot, first_step);
}

DecoderSteps::Chunk FusedSteps::read() {
  const std::size_t slot = read_++ % FusedGroup::n_slots;
  for (FusedGroup& group : groups_) group.wait(slot);
  for (const auto result : {FusedGroup::mel, FusedGroup::gate_logits, FusedGroup::attention_weights})
    gather(slot, result);
  return {chunk_[FusedGroup::mel].data(), chunk_[FusedGroup::gate_logits].data(),
          chunk_[FusedGroup::attention_weights].data()};
}

// Joins the groups' items, without those that fill a kernel's rows.
void FusedSteps::gather(std::size_t slot, FusedGroup::Result result) {
  auto& joined = chunk_[result];
  joined.clear();
  for (std::int64_t step = 0; step < chunk_steps(); ++step)
    for (const FusedGroup& group : groups_) {
      const std::size_t width = group.width(result);
      const float* rows = group.results(slot, result) + static_cast<std::size_t>(step * group.rows()) * width;
      joined.insert(joined.end(), rows, rows + static_cast<std::size_t>(group.items()) * width);
    }
}

}  // namespace tacoglow
