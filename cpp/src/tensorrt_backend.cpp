// Runs plans of TensorRT 8.5 to 11 on one GPU. Threads share the plans; each instance has its own execution contexts.

#include <algorithm>
#include <system_error>
#include <utility>

#include "backend.hpp"
#include "encoder.hpp"
#include "error.hpp"
#include "fused_rows.hpp"
#include "fused_steps.hpp"
#include "host_steps.hpp"
#include "log.hpp"
#include "tensorrt_rows.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t smallest_mel = 32;  // frames that the postnet runs at, and their doubles

// Returns few numbers of frames for the vocoder: those of a stream's windows, and larger. The same as in Python.
std::vector<std::int64_t> vocoder_sizes(const Manifest& manifest) {
  const Synthesis& synthesis = manifest.synthesis;
  const std::int64_t context = synthesis.context_frames, hop = manifest.hop_length;
  const std::int64_t denoiser_frames = (manifest.filter_length + hop - 1) / hop;
  const DimRange frames = manifest.dimensions.at('F');
  const std::int64_t most = std::min(
      frames.max, synthesis.window_frames + 2 * denoiser_frames + manifest.frames_before + manifest.frames_after);
  std::vector<std::int64_t> sizes = {synthesis.segment_frames + 2 * context, most / 4, most / 2, most};
  std::int64_t start = 0, segment = synthesis.first_segment_frames;
  while (start == 0 || segment < synthesis.segment_frames) {
    sizes.push_back(std::min(start, context) + segment + context);
    start += segment;
    segment = std::min(2 * segment, synthesis.segment_frames);
  }
  for (std::int64_t& size : sizes) size = std::max({std::min(size, most), frames.min, manifest.min_frames});
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

class TensorRTBackend : public Backend {
 public:
  TensorRTBackend(const std::filesystem::path& plans, Manifest manifest, int device)
      : manifest_(std::move(manifest)), gpu_(device) {
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    if (!runtime_) throw backend_error("cannot create a TensorRT runtime: " + RecordingLogger::last_error());
    for (const auto& [name, spec] : manifest_.graphs)
      plans_.try_emplace(name, *runtime_, plans / (name + ".plan"), name, spec);
    window_sizes_["postnet"] = doubling(smallest_mel, manifest_.dimensions.at('F').max);
    window_sizes_[manifest_.vocoder] = vocoder_sizes(manifest_);
    for (auto& [graph, sizes] : window_sizes_) {  // plans may have been built for fewer frames
      const auto is_rejected = [&, &plan = plans_.at(graph)](std::int64_t frames) {
        return plan.best_profile({{'B', 1}, {'F', frames}}) < 0;
      };
      sizes.erase(std::remove_if(sizes.begin(), sizes.end(), is_rejected), sizes.end());
    }
    open_kernels(plans / "kernels");
  }

  ~TensorRTBackend() override { gpu_.make_current_to_release(); }

  std::unique_ptr<BackendInstance> create_instance() override;
  std::string decoder() const override { return decoder_; }

  const DeviceNoise* noise() const { return noise_.get(); }   // nullptr: the host draws it
  const FusedDecoder* fused() const { return fused_.get(); }  // nullptr: the engine decodes
  const Manifest& manifest() const { return manifest_; }
  const Plan& plan(const std::string& graph) const { return plans_.at(graph); }
  const std::map<std::string, std::vector<std::int64_t>>& window_sizes() const { return window_sizes_; }
  const Gpu& gpu() const { return gpu_; }

 private:
  // Opens what there is beside the plans. Without it, the engine decodes and the host draws the noise.
  void open_kernels(const std::filesystem::path& folder) {
    decoder_ = "engine: there is no fused decoder beside the plans";
    std::string reason = "there are no kernels beside the plans";
    try {
      KernelPackage package;
      std::error_code unknown;  // such as no permission, which reading then reports
      if (std::filesystem::exists(folder, unknown) || unknown) package = load_kernel_package(folder, manifest_, gpu_);
      if (!package.noise.empty()) noise_ = std::make_unique<const DeviceNoise>(package.noise);
      if (package.fused) {
        const std::string decoder = package.fused->decoder;
        fused_ = std::make_unique<const FusedDecoder>(*std::move(package.fused), folder, gpu_);
        decoder_ = decoder;
      }
    } catch (const Error& error) {
      reason = error.what();
      decoder_ = "engine: " + reason;
    }
    if (!noise_)
      log(TACOGLOW_LOG_WARNING, ("noise is drawn on the host: " + reason + " (slower, same speech)").c_str());
  }

  Manifest manifest_;
  Gpu gpu_;
  RecordingLogger logger_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::map<std::string, Plan> plans_;
  std::map<std::string, std::vector<std::int64_t>> window_sizes_;  // by graph
  std::unique_ptr<const DeviceNoise> noise_;
  std::unique_ptr<const FusedDecoder> fused_;
  std::string decoder_;
};

// Makes its GPU current before each call: a callback may have left a different one current.
class StepsOnGpu : public DecoderSteps {
 public:
  StepsOnGpu(const Gpu& gpu, std::unique_ptr<DecoderSteps> steps) : gpu_(gpu), steps_(std::move(steps)) {}

  std::int64_t chunk_steps() const override { return steps_->chunk_steps(); }
  std::int64_t launches_in_flight() const override { return steps_->launches_in_flight(); }
  void launch() override {
    gpu_.make_current();
    steps_->launch();
  }
  Chunk read() override {
    gpu_.make_current();
    return steps_->read();
  }

 private:
  const Gpu& gpu_;
  std::unique_ptr<DecoderSteps> steps_;
};

// Makes its GPU current before each call: a callback, or destruction in another thread, may have left a different one
// current.
class RowsOnGpu : public RowSteps {
 public:
  RowsOnGpu(const Gpu& gpu, CudaStreamHandle stream, std::unique_ptr<RowSteps> rows)
      : gpu_(gpu), stream_(stream), rows_(std::move(rows)) {}
  ~RowsOnGpu() override {
    gpu_.make_current_to_release();
    cuda_driver().cuStreamSynchronize(stream_);  // a chunk may still be running
    rows_.reset();
  }

  std::size_t max_rows() const override { return rows_->max_rows(); }
  std::int64_t chunk_steps() const override { return rows_->chunk_steps(); }
  std::vector<std::vector<std::int64_t>> checked_batches() const override { return rows_->checked_batches(); }
  std::size_t join(const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t step_limit) override {
    gpu_.make_current();
    return rows_->join(encoded, noise, gate_logit, step_limit);
  }
  void leave(std::size_t row) noexcept override { rows_->leave(row); }
  void launch(const std::vector<Start>& rows) override {
    gpu_.make_current();
    try {
      rows_->launch(rows);
    } catch (...) {
      cuda_driver().cuStreamSynchronize(stream_);  // nobody waits for the part that may have been launched
      throw;
    }
  }
  std::vector<Chunk> read() override {
    gpu_.make_current_to_release();  // in any case, a chunk has to be taken out of those that are launched
    return rows_->read();
  }

 private:
  const Gpu& gpu_;
  CudaStreamHandle stream_;
  std::unique_ptr<RowSteps> rows_;
};

class TensorRTInstance : public BackendInstance {
 public:
  explicit TensorRTInstance(TensorRTBackend& backend) : backend_(backend) {
    backend.gpu().make_current();
    stream_ = make_stream();
  }

  ~TensorRTInstance() override {
    backend_.gpu().make_current_to_release();
    cuda_driver().cuStreamSynchronize(stream_.get());  // an abandoned utterance may still be running
  }

  bool pads_token_ids() const override { return true; }

  const std::vector<std::int64_t>& window_sizes(const std::string& graph) const override {
    const auto found = backend_.window_sizes().find(graph);
    return found == backend_.window_sizes().end() ? BackendInstance::window_sizes(graph) : found->second;
  }

  void prepare() override {
    backend_.gpu().make_current();
    for (const std::int64_t bucket : token_buckets(backend_.manifest())) {
      const Dims dims = {{'B', 1}, {'T', bucket}};
      if (backend_.plan("encoder").best_profile(dims) >= 0) runner("encoder").prepare(dims);
    }
    for (const auto& [graph, sizes] : backend_.window_sizes())
      for (const std::int64_t frames : sizes) runner(graph).prepare({{'B', 1}, {'F', frames}});
  }

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    const Dims dims = check_inputs(graph, backend_.manifest(), inputs);
    backend_.gpu().make_current();  // the session may have moved to a different thread
    return runner(graph).run(inputs, dims);
  }

  Tensor vocode(const Manifest& manifest, Tensor mel, const Noise& noise, std::int64_t first_group,
                float sigma) override {
    const DeviceNoise* drawer = backend_.noise();
    if (drawer == nullptr || !manifest.takes_noise())
      return BackendInstance::vocode(manifest, std::move(mel), noise, first_group, sigma);
    backend_.gpu().make_current();
    const std::int64_t frames = mel.shape()[2];
    Tensor audio(DType::float32, {1, frames * manifest.hop_length});
    const auto draw_z = [&](const BoundPlan& bound, CudaStreamHandle stream) {
      drawer->draw_z(bound.address("z"), noise, first_group, frames * manifest.groups_per_frame(), manifest.group_size,
                     sigma, stream);
    };
    runner(manifest.vocoder).run({{"mel", &mel}}, {{"audio", &audio}}, {{'B', 1}, {'F', frames}}, draw_z);
    return audio;
  }

  std::unique_ptr<DecoderSteps> start(DecoderInput input) override {
    backend_.gpu().make_current();
    return std::make_unique<StepsOnGpu>(backend_.gpu(), make_steps(std::move(input)));
  }

  std::unique_ptr<RowSteps> row_steps(const Profile& profile) override {
    backend_.gpu().make_current();
    return std::make_unique<RowsOnGpu>(backend_.gpu(), stream_.get(), make_rows(profile));
  }

 private:
  std::unique_ptr<DecoderSteps> make_steps(DecoderInput input) {
    const Shape& memory = input.encoded.at("memory").shape();
    const Dims dims = {{'B', memory[0]}, {'T', memory[1]}};
    if (input.has_window()) return start_with_window(std::move(input), dims);
    if (const FusedDecoder* fused = backend_.fused(); fused != nullptr) {
      auto& groups = fused_[dims];
      if (groups.empty()) groups = make_groups(*fused, backend_.manifest(), dims, stream_.get());
      return std::make_unique<FusedSteps>(groups, input);
    }
    ChunkBuffers& buffers =
        captured_
            .try_emplace(dims, backend_.plan("decoder_step"), backend_.manifest(), dims, TensorRTSteps::steps,
                         std::vector{dims.at('B')}, stream_.get(), step_activations(), backend_.noise())
            .first->second;
    return std::make_unique<TensorRTSteps>(buffers, input);
  }

  std::unique_ptr<RowSteps> make_rows(const Profile& profile) {
    const auto max_rows = static_cast<std::size_t>(profile.max_rows);
    if (const FusedDecoder* fused = backend_.fused(); fused != nullptr)
      return std::make_unique<FusedRows>(*fused, backend_.manifest(), max_rows, profile.fused_steps, stream_.get());
    return std::make_unique<EngineRows>(backend_.plan("decoder_step"), backend_.manifest(), max_rows,
                                        profile.engine_steps, stream_.get(), step_activations(), backend_.noise());
  }

  // A graph's runner, made at first use.
  HostGraphRunner& runner(const std::string& graph) {
    return runners_.try_emplace(graph, backend_.plan(graph)).first->second;
  }

  const DeviceMemory& step_activations() {
    if (step_activations_.get() == 0)
      step_activations_ = device_memory(backend_.plan("decoder_step").activation_bytes());
    return step_activations_;
  }

  std::unique_ptr<DecoderSteps> start_with_window(DecoderInput input, const Dims& dims) {
    HostGraphRunner& own = runner("decoder_step");
    const auto bind = [&](const ConstTensorRefs& inputs, const TensorRefs& outputs) {
      return [=, &own] { own.run(inputs, outputs, dims); };
    };
    return std::make_unique<HostSteps>(bind, backend_.manifest(), std::move(input));
  }

  TensorRTBackend& backend_;
  CudaStream stream_;              // of decoder steps
  DeviceMemory step_activations_;  // of all execution contexts of decoder_step on it
  std::map<std::string, HostGraphRunner> runners_;
  std::map<Dims, ChunkBuffers> captured_;  // by batch size and token bucket
  std::map<Dims, FusedGroups> fused_;      // likewise, if the fused decoder runs
};

std::unique_ptr<BackendInstance> TensorRTBackend::create_instance() {
  return std::make_unique<TensorRTInstance>(*this);
}

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const BundleFiles&, const Manifest& manifest, const BackendOptions& options) {
  return std::make_unique<TensorRTBackend>(options.plans, manifest, options.device);
}

}  // namespace tacoglow
