#include "tensorrt_steps.hpp"

#include <algorithm>

namespace tacoglow {
namespace {

constexpr std::size_t alignment = 256;  // bytes; TensorRT's kernels may assume this alignment

std::size_t align(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// Copies a chunk's steps from one pitch to another.
void copy_rows(CudaAddress target, std::size_t target_pitch, CudaAddress source, std::size_t source_pitch,
               std::size_t width, CudaStreamHandle stream) {
  CudaCopy2D rows;
  rows.target = target, rows.target_pitch = target_pitch;
  rows.source = source, rows.source_pitch = source_pitch;
  rows.width = width, rows.height = static_cast<std::size_t>(CapturedSteps::chunk_steps);
  check_cuda(cuda_driver().cuMemcpy2DAsync(&rows, stream), "copy a chunk of steps");
}

}  // namespace

CapturedSteps::CapturedSteps(const Plan& plan, const Manifest& manifest, const Dims& dims, CudaStreamHandle stream,
                             const DeviceMemory& activations, const DeviceNoise* noise)
    : plan_(plan),
      manifest_(manifest),
      stream_(stream),
      context_(plan.create_execution_context(activations)),
      device_noise_(noise),
      items_(device_memory(static_cast<std::size_t>(dims.at('B')) * sizeof(DeviceNoise::Item))),
      dropout_bytes_(element_count(plan.spec().tensor("prenet_dropout").resolve(dims)) * sizeof(float)),
      mel_bytes_(element_count(plan.spec().tensor("mel_frame").resolve(dims)) * sizeof(float)),
      gate_bytes_(element_count(plan.spec().tensor("gate_logit").resolve(dims)) * sizeof(float)),
      attention_bytes_(element_count(plan.spec().tensor(attention_output).resolve(dims)) * sizeof(float)) {
  allocate(dims);
  set_shapes(*context_, plan, dims, stream_);
  for (auto& [name, memory] : encoded_) set_address(*context_, name, memory.get());
  // The first run of a shape may allocate memory, which is not allowed during a capture.
  enqueue_step(0, 0);
  wait_for(stream_, "first decoder step");
  for (std::size_t slot = 0; slot < n_slots; ++slot)
    slots_[slot].graph = capture(stream_, [&] { enqueue_chunk(slot); });
}

void CapturedSteps::allocate(const Dims& dims) {
  for (const auto& [source, target] : manifest_.states) {
    const TensorSpec& spec = plan_.spec().tensor(source);
    const std::size_t bytes = element_count(spec.resolve(dims)) * element_bytes(spec.dtype);
    if (target == "mel_frame") {
      mel_state_ = source;  // stored in the slots
      continue;
    }
    if (target == attention_output) attention_state_ = source;
    state_bytes_[source] = bytes;
    for (auto& set : states_) set[source] = device_memory(bytes);
  }
  for (const auto* name : {"memory", "processed_memory", "memory_mask"}) {
    const TensorSpec& spec = plan_.spec().tensor(name);
    encoded_[name] = device_memory(element_count(spec.resolve(dims)) * element_bytes(spec.dtype));
  }
  constexpr auto n = static_cast<std::size_t>(chunk_steps);
  for (auto& slot : slots_) {
    slot.dropout = device_memory(n * align(dropout_bytes_));
    slot.mel = device_memory(n * align(mel_bytes_));
    slot.gate = device_memory(n * align(gate_bytes_));
    slot.attention = device_memory(n * align(attention_bytes_));
    slot.host_items = pinned_memory(static_cast<std::size_t>(dims.at('B')) * sizeof(DeviceNoise::Item));
    slot.host_dropout = pinned_memory(n * dropout_bytes_);
    slot.host_mel = pinned_memory(n * mel_bytes_);
    slot.host_gate = pinned_memory(n * gate_bytes_);
    slot.host_attention = pinned_memory(n * attention_bytes_);
    slot.done = make_event();
  }
}

void CapturedSteps::reset(const Tensors& encoded, std::vector<Noise> noises) {
  wait_for(stream_, "an earlier utterance");  // an abandoned one may still be running
  for (auto& [name, memory] : encoded_) {
    const Tensor& tensor = encoded.at(name);
    copy(memory.get(), address_of(tensor.data()), tensor.size_bytes(), stream_, "copy the encoder's output");
  }
  for (auto& [name, memory] : states_[0]) clear(memory.get(), state_bytes_.at(name), stream_, "clear a state");
  clear(mel_before(0, 0), mel_bytes_, stream_, "clear a state");
  noises_ = std::move(noises);
  wait_for(stream_, "begin an utterance");  // `encoded` may be freed now
}

void TensorRTSteps::launch() {
  captured_.launch(launched_ % CapturedSteps::n_slots, static_cast<std::int64_t>(launched_) * chunk_steps());
  ++launched_;
}

void CapturedSteps::launch(std::size_t slot, std::int64_t first_step) {
  enqueue_dropout(slot, first_step);
  if (const auto graph = slots_[slot].graph.get(); graph != nullptr)
    check_cuda(cuda_driver().cuGraphLaunch(graph, stream_), "launch decoder steps");
  else
    enqueue_chunk(slot);
  check_cuda(cuda_driver().cuEventRecord(slots_[slot].done.get(), stream_), "record an event");
}

void CapturedSteps::enqueue_dropout(std::size_t slot, std::int64_t first_step) {
  const Slot& own = slots_[slot];
  const std::int64_t units = manifest_.dropout_units();
  if (device_noise_ != nullptr) {
    const auto batch = static_cast<std::int64_t>(noises_.size());
    const DeviceNoise::Dropout dropout = {own.dropout.get(), align(dropout_bytes_), batch, units, chunk_steps};
    auto* const items = static_cast<DeviceNoise::Item*>(own.host_items.get());
    std::transform(noises_.begin(), noises_.end(), items, [&](const Noise& noise) -> DeviceNoise::Item {
      return {noise.key()[0], noise.key()[1], static_cast<std::uint64_t>(first_step)};
    });
    copy(items_.get(), address_of(items), noises_.size() * sizeof(DeviceNoise::Item), stream_,
         "copy the keys of the noise");
    return device_noise_->draw_dropout(dropout, items_.get(), stream_);
  }
  draw_dropout(noises_, first_step, chunk_steps, units, static_cast<float*>(own.host_dropout.get()));
  copy_rows(own.dropout.get(), align(dropout_bytes_), address_of(own.host_dropout), dropout_bytes_, dropout_bytes_,
            stream_);
}

DecoderSteps::Chunk CapturedSteps::read(std::size_t slot) {
  check_cuda(cuda_driver().cuEventSynchronize(slots_[slot].done.get()), "decoder steps");
  return {static_cast<float*>(slots_[slot].host_mel.get()), static_cast<float*>(slots_[slot].host_gate.get()),
          static_cast<float*>(slots_[slot].host_attention.get())};
}

// Returns the address of the previous step's frames. For the first step of a chunk, these are in the other slot.
CudaAddress CapturedSteps::mel_before(std::size_t slot, std::int64_t step) const {
  const Slot& source = slots_[step > 0 ? slot : (slot + n_slots - 1) % n_slots];
  return source.mel.get() + static_cast<std::size_t>(step > 0 ? step - 1 : chunk_steps - 1) * align(mel_bytes_);
}

void CapturedSteps::enqueue_step(std::size_t slot, std::int64_t step) {
  const auto index = static_cast<std::size_t>(step);
  const Slot& own = slots_[slot];
  const auto &read = states_[index % 2], &written = states_[(index + 1) % 2];
  for (const auto& [source, target] : manifest_.states) {
    if (source == mel_state_) continue;
    set_address(*context_, source, read.at(source).get());
    set_address(*context_, target, written.at(source).get());
  }
  set_address(*context_, mel_state_, mel_before(slot, step));
  set_address(*context_, "mel_frame", own.mel.get() + index * align(mel_bytes_));
  set_address(*context_, "gate_logit", own.gate.get() + index * align(gate_bytes_));
  set_address(*context_, "prenet_dropout", own.dropout.get() + index * align(dropout_bytes_));
  enqueue(*context_, plan_, stream_);
  copy(own.attention.get() + index * align(attention_bytes_), written.at(attention_state_).get(), attention_bytes_,
       stream_, "keep a step's attention");
}

void CapturedSteps::enqueue_chunk(std::size_t slot) {
  const Slot& own = slots_[slot];
  const auto read = [&](const PinnedMemory& target, const DeviceMemory& source, std::size_t bytes) {
    copy_rows(address_of(target), bytes, source.get(), align(bytes), bytes, stream_);
  };
  for (std::int64_t step = 0; step < chunk_steps; ++step) enqueue_step(slot, step);
  read(own.host_mel, own.mel, mel_bytes_);
  read(own.host_gate, own.gate, gate_bytes_);
  read(own.host_attention, own.attention, attention_bytes_);
}

}  // namespace tacoglow
