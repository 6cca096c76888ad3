#include "tensorrt_steps.hpp"

#include <algorithm>

namespace tacoglow {
namespace {

constexpr std::size_t alignment = 256;  // bytes; TensorRT's kernels may assume this alignment

std::size_t align(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

Slots::Slots(std::int64_t count, std::int64_t batch, std::size_t item_bytes)
    : count_(static_cast<std::size_t>(count)),
      batch_(static_cast<std::size_t>(batch)),
      item_bytes_(item_bytes),
      pitch_(align(bytes())),
      memory_(device_memory(count_ * pitch_)) {}

CudaAddress Slots::operator[](std::int64_t step) const {
  return memory_.get() + (static_cast<std::size_t>(step) + count_) % count_ * pitch_;
}

ChunkBuffers::ChunkBuffers(const Plan& plan, const Manifest& manifest, const Dims& dims, std::int64_t steps,
                           const std::vector<std::int64_t>& counts, CudaStreamHandle stream,
                           const DeviceMemory& activations, const DeviceNoise* noise)
    : plan_(plan),
      manifest_(manifest),
      dims_(dims),
      steps_(steps),
      stream_(stream),
      device_noise_(noise),
      dropout_(slots("prenet_dropout", steps)) {
  for (const std::string result : {"mel_frame", "gate_logit", attention_output}) {
    const Slots& own = outputs_.emplace(result, slots(result, steps)).first->second;
    results_[result] = pinned(static_cast<std::size_t>(steps) * own.bytes());
  }
  for (const auto& [source, target] : manifest.states)
    if (outputs_.count(target) == 0) outputs_.emplace(target, slots(target, 2));
  for (const auto* name : {"memory", "processed_memory", "memory_mask"}) {
    const TensorSpec& spec = plan.spec().tensor(name);
    encoded_[name] = device_memory(element_count(spec.resolve(dims)) * element_bytes(spec.dtype));
  }
  const std::size_t drawn_bytes = static_cast<std::size_t>(dims.at('B')) * sizeof(DeviceNoise::Item);
  drawn_ = device_memory(drawn_bytes);
  host_drawn_ = pinned(drawn_bytes);
  host_dropout_ = pinned(static_cast<std::size_t>(steps) * dropout_.bytes());
  for (CudaEvent& done : done_) done = make_event();
  for (const std::int64_t count : counts) runs_.push_back(make_run(count, activations));
}

Slots ChunkBuffers::slots(const std::string& tensor, std::int64_t count) const {
  Dims one = dims_;
  one['B'] = 1;
  const TensorSpec& spec = plan_.spec().tensor(tensor);
  return {count, dims_.at('B'), element_count(spec.resolve(one)) * element_bytes(spec.dtype)};
}

ChunkBuffers::Run ChunkBuffers::make_run(std::int64_t count, const DeviceMemory& activations) {
  Run run = {count, plan_.create_execution_context(activations), {}};
  Dims dims = dims_;
  dims['B'] = count;
  set_shapes(*run.context, plan_, dims, stream_);
  for (const auto& [name, memory] : encoded_) set_address(*run.context, name, memory.get());
  // The first run of a shape may allocate memory, which is not allowed during a capture.
  enqueue_step(run, 0);
  wait_for(stream_, "first decoder step");
  run.graph = capture(stream_, [&] { enqueue_chunk(run); });
  return run;
}

const ChunkBuffers::Run& ChunkBuffers::run_for(std::int64_t items) const {
  return *std::find_if(runs_.begin(), runs_.end(), [=](const Run& run) { return run.count >= items; });
}

void ChunkBuffers::reset(const Tensors& encoded) {
  wait_for(stream_, "an earlier utterance");  // an abandoned one may still be running
  for (const auto& [name, memory] : encoded_) {
    const Tensor& tensor = encoded.at(name);
    copy(memory.get(), address_of(tensor.data()), tensor.size_bytes(), stream_, "copy the encoder's output");
  }
  for (const auto& [source, target] : manifest_.states) {
    const Slots& own = outputs_.at(target);
    clear(own[-1], own.bytes(), stream_, "clear a state");
  }
  wait_for(stream_, "begin an utterance");  // `encoded` may be freed now
}

ChunkBuffers::Item ChunkBuffers::item(std::int64_t place) const {
  Item item;
  const auto index = static_cast<std::size_t>(place), batch = static_cast<std::size_t>(dims_.at('B'));
  for (const auto& [source, target] : manifest_.states) {
    const Slots& own = outputs_.at(target);
    item.states[source] = {own[-1] + index * own.item_bytes(), own.item_bytes()};
  }
  for (const auto& [name, memory] : encoded_) {
    const TensorSpec& spec = plan_.spec().tensor(name);
    const std::size_t bytes = element_count(spec.resolve(dims_)) * element_bytes(spec.dtype) / batch;
    item.encoded[name] = {memory.get() + index * bytes, bytes};
  }
  return item;
}

void ChunkBuffers::launch(const std::vector<Start>& items, std::size_t parity) {
  const auto last =
      std::max_element(items.begin(), items.end(), [](const Start& a, const Start& b) { return a.place < b.place; });
  const Run& run = run_for(last->place + 1);
  enqueue_dropout(items, run.count, parity);
  if (run.graph.get() != nullptr)
    check_cuda(cuda_driver().cuGraphLaunch(run.graph.get(), stream_), "launch decoder steps");
  else
    enqueue_chunk(run);
  for (const auto& [result, host] : results_) {
    const Slots& own = outputs_.at(result);
    copy_rows({address_of(host[parity]), own.bytes()}, {own[0], own.pitch()},
              static_cast<std::size_t>(run.count) * own.item_bytes(), static_cast<std::size_t>(steps_), stream_,
              "copy a chunk of steps");
  }
  check_cuda(cuda_driver().cuEventRecord(done_[parity].get(), stream_), "record an event");
}

void ChunkBuffers::enqueue_dropout(const std::vector<Start>& items, std::int64_t count, std::size_t parity) {
  const std::int64_t units = manifest_.dropout_units(), batch = dims_.at('B');
  if (device_noise_ != nullptr) {
    auto* const drawn = static_cast<DeviceNoise::Item*>(host_drawn_[parity].get());
    for (const Start& item : items)
      drawn[item.place] = {item.noise.key()[0], item.noise.key()[1], static_cast<std::uint64_t>(item.first_step)};
    copy(drawn_.get(), address_of(drawn), static_cast<std::size_t>(count) * sizeof(DeviceNoise::Item), stream_,
         "copy the keys of the noise");
    return device_noise_->draw_dropout({dropout_[0], dropout_.pitch(), count, units, steps_}, drawn_.get(), stream_);
  }
  auto* const dropout = static_cast<float*>(host_dropout_[parity].get());  // [steps, B, units]
  for (const Start& item : items)
    for (std::int64_t step = 0; step < steps_; ++step)
      item.noise.prenet_dropout(item.first_step + step, 1, units, dropout + (step * batch + item.place) * units);
  copy_rows({dropout_[0], dropout_.pitch()}, {address_of(dropout), dropout_.bytes()},
            static_cast<std::size_t>(count) * dropout_.item_bytes(), static_cast<std::size_t>(steps_), stream_,
            "copy the dropout");
}

DecoderSteps::Chunk ChunkBuffers::read(std::size_t parity) const {
  check_cuda(cuda_driver().cuEventSynchronize(done_[parity].get()), "decoder steps");
  const auto result = [&](const char* name) { return static_cast<const float*>(results_.at(name)[parity].get()); };
  return {result("mel_frame"), result("gate_logit"), result(attention_output)};
}

void ChunkBuffers::enqueue_step(const Run& run, std::int64_t step) {
  for (const auto& [source, target] : manifest_.states) {
    set_address(*run.context, source, outputs_.at(target)[step - 1]);
    set_address(*run.context, target, outputs_.at(target)[step]);
  }
  set_address(*run.context, "gate_logit", outputs_.at("gate_logit")[step]);
  set_address(*run.context, "prenet_dropout", dropout_[step]);
  enqueue(*run.context, plan_, stream_);
}

void ChunkBuffers::enqueue_chunk(const Run& run) {
  for (std::int64_t step = 0; step < steps_; ++step) enqueue_step(run, step);
}

TensorRTSteps::TensorRTSteps(ChunkBuffers& buffers, const DecoderInput& input) : buffers_(buffers) {
  buffers_.reset(input.encoded);
  for (const Noise& noise : input.noises) next_.push_back({static_cast<std::int64_t>(next_.size()), noise, 0});
}

void TensorRTSteps::launch() {
  buffers_.launch(next_, launched_++ % ChunkBuffers::n_parities);
  for (ChunkBuffers::Start& item : next_) item.first_step += steps;
}

}  // namespace tacoglow
