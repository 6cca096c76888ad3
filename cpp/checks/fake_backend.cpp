#include "fake_backend.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <numeric>
#include <utility>

#include "host_steps.hpp"

namespace tacoglow {
namespace {

std::size_t row_size(const Tensor& tensor) {
  return element_count(tensor.shape()) / static_cast<std::size_t>(tensor.shape()[0]);
}

float sum_of_row(const Tensor& tensor, std::size_t row) {
  const float* begin = tensor.as<float>() + row * row_size(tensor);
  return std::accumulate(begin, begin + row_size(tensor), 0.0F);
}

float visible_in_row(const Tensor& mask, std::size_t row) {
  const unsigned char* begin = mask.as<unsigned char>() + row * row_size(mask);
  return static_cast<float>(std::count(begin, begin + row_size(mask), 0));
}

// Returns row[frame], or 0 outside the row.
float at(const float* row, std::int64_t frames, std::int64_t frame) {
  return frame < 0 || frame >= frames ? 0.0F : row[frame];
}

class FakeInstance : public BackendInstance {
 public:
  FakeInstance(const Manifest& manifest, std::int64_t chunk_steps, std::int64_t launches_in_flight,
               const std::vector<std::int64_t>& vocoder_sizes, const Observer& observe)
      : manifest_(manifest),
        chunk_steps_(chunk_steps),
        launches_in_flight_(launches_in_flight),
        vocoder_sizes_(vocoder_sizes),
        observe_(observe) {}

  const std::vector<std::int64_t>& window_sizes(const std::string& graph) const override {
    return graph == "waveglow" ? vocoder_sizes_ : BackendInstance::window_sizes(graph);
  }

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    const Dims dims = check_inputs(graph, manifest_, inputs);
    if (observe_) observe_(graph, inputs);
    Tensors outputs;
    for (const auto& spec : manifest_.graphs.at(graph).outputs)
      outputs[spec.name] = Tensor(spec.dtype, spec.resolve(dims));
    if (graph == "encoder") encode(inputs, outputs);
    if (graph == "decoder_step") step(refer_to(inputs), refer_to(outputs));
    if (graph == "postnet") postnet(inputs, outputs);
    if (graph == "waveglow") waveglow(inputs, outputs);
    if (graph == "denoiser") denoise(inputs.at("audio"), outputs.at("audio_denoised"));
    return outputs;
  }

  std::unique_ptr<DecoderSteps> start(DecoderInput input) override;

  std::unique_ptr<HostSteps> start_on_host(DecoderInput input) override {
    return delays() ? nullptr : bind_steps(std::move(input));
  }

  std::unique_ptr<RowSteps> row_steps(const Profile& profile) override;

 private:
  bool delays() const { return chunk_steps_ != 1 || launches_in_flight_ != 1; }
  std::unique_ptr<HostSteps> bind_steps(DecoderInput input);

  static void encode(const Tensors& in, Tensors& out) {
    Tensor& memory = out.at("memory");
    const std::int64_t tokens = memory.shape()[1], width = memory.shape()[2];
    for (std::int64_t i = 0; i < tokens * width; ++i)
      memory.as<float>()[i] = static_cast<float>(in.at("token_ids").as<std::int32_t>()[i / width]) * 0.01F;
    for (std::int64_t i = *in.at("token_lengths").as<std::int32_t>(); i < tokens; ++i)
      out.at("memory_mask").as<unsigned char>()[i] = 1;
  }

  // Every output depends on its previous value, the text and the dropout; the gate fires at about one step in fifteen.
  void step(const ConstTensorRefs& in, const TensorRefs& out) const {
    for (std::int64_t b = 0; b < in.at("memory")->shape()[0]; ++b) {
      const auto row = static_cast<std::size_t>(b);
      const float drive = 0.01F * sum_of_row(*in.at("memory"), row) + 0.1F * sum_of_row(*in.at("prenet_dropout"), row) +
                          0.01F * visible_in_row(*in.at("memory_mask"), row);
      for (const auto& [source, target] : manifest_.states) {
        const std::size_t size = row_size(*in.at(source));
        const float* before = in.at(source)->as<float>() + row * size;
        float* after = out.at(target)->as<float>() + row * size;
        for (std::size_t i = 0; i < size; ++i)
          after[i] = std::sin(before[i] + drive + static_cast<float>(i)) + 0.001F * static_cast<float>(i);
        if (target == attention_output) attend(*in.at("memory_mask"), row, after);
      }
      const Tensor& cell = *out.at(manifest_.states.begin()->second);
      const float first = cell.as<float>()[row * row_size(cell)];
      out.at("gate_logit")->as<float>()[row] = first * 40.0F - 39.0F;
    }
  }

  // Weights are not negative, and 0 for hidden tokens, so that padding has no influence.
  static void attend(const Tensor& mask, std::size_t row, float* weights) {
    const unsigned char* hidden = mask.as<unsigned char>() + row * row_size(mask);
    for (std::size_t i = 0; i < row_size(mask); ++i) weights[i] = hidden[i] != 0 ? 0.0F : std::fabs(weights[i]);
  }

  void postnet(const Tensors& in, Tensors& out) const {
    const Tensor& mel = in.at("mel");
    const std::int64_t frames = mel.shape()[2], context_frames = manifest_.postnet_frames;
    const std::int64_t length = *in.at("mel_lengths").as<std::int32_t>();  // the rest is padding
    for (std::int64_t i = 0; i < mel.shape()[1] * frames; ++i) {
      const float* row = mel.as<float>() + i / frames * frames;
      out.at("mel_postnet").as<float>()[i] = row[i % frames] + 0.1F * at(row, length, i % frames - context_frames) +
                                             0.2F * at(row, length, i % frames + context_frames);
    }
  }

  void waveglow(const Tensors& in, Tensors& out) const {
    const std::int64_t frames = in.at("mel").shape()[2], groups = in.at("z").shape()[2];
    const float *mel = in.at("mel").as<float>(), *z = in.at("z").as<float>();
    for (std::int64_t i = 0; i < frames * manifest_.hop_length; ++i) {
      const std::int64_t frame = i / manifest_.hop_length, group = i / manifest_.group_size;
      out.at("audio").as<float>()[i] = 0.1F * mel[frame] + 0.1F * at(mel, frames, frame - manifest_.frames_before) +
                                       0.1F * at(mel, frames, frame + manifest_.frames_after) +
                                       0.1F * z[i % manifest_.group_size * groups + group];
    }
  }

  // Each sample depends on those half a window of the denoiser away.
  void denoise(const Tensor& audio, Tensor& denoised) const {
    const std::int64_t samples = audio.shape()[1], reach = manifest_.filter_length / 2;
    const float* in = audio.as<float>();
    for (std::int64_t i = 0; i < samples; ++i)
      denoised.as<float>()[i] = in[i] + 0.1F * at(in, samples, i - reach) + 0.1F * at(in, samples, i + reach);
  }

  const Manifest& manifest_;
  std::int64_t chunk_steps_, launches_in_flight_;
  const std::vector<std::int64_t>& vocoder_sizes_;
  const Observer& observe_;
};

// Steps that run ahead of what is read, as on a GPU.
class DelayedSteps : public DecoderSteps {
 public:
  DelayedSteps(std::unique_ptr<DecoderSteps> steps, const Manifest& manifest, std::int64_t batch, std::int64_t tokens,
               std::int64_t chunk_steps, std::int64_t launches_in_flight)
      : steps_(std::move(steps)),
        mel_size_(batch * manifest.frames_per_step * manifest.n_mel_channels),
        batch_(batch),
        tokens_(tokens),
        chunk_steps_(chunk_steps),
        launches_in_flight_(launches_in_flight) {}

  std::int64_t chunk_steps() const override { return chunk_steps_; }
  std::int64_t launches_in_flight() const override { return launches_in_flight_; }

  void launch() override {
    Launched chunk;
    for (std::int64_t i = 0; i < chunk_steps_; ++i) {
      steps_->launch();
      const Chunk step = steps_->read();
      chunk.mel.insert(chunk.mel.end(), step.mel, step.mel + mel_size_);
      const std::size_t weights = static_cast<std::size_t>(batch_ * tokens_);
      chunk.attention.insert(chunk.attention.end(), step.attention_weights, step.attention_weights + weights);
      chunk.gate_logits.insert(chunk.gate_logits.end(), step.gate_logits, step.gate_logits + batch_);
    }
    launched_.push_back(std::move(chunk));
  }

  Chunk read() override {
    read_ = std::move(launched_.front());
    launched_.pop_front();
    return {read_.mel.data(), read_.gate_logits.data(), read_.attention.data()};
  }

 private:
  struct Launched {
    std::vector<float> mel, gate_logits, attention;
  };

  std::unique_ptr<DecoderSteps> steps_;
  std::int64_t mel_size_;  // per step
  std::int64_t batch_, tokens_, chunk_steps_, launches_in_flight_;
  std::deque<Launched> launched_;
  Launched read_;
};

std::unique_ptr<DecoderSteps> FakeInstance::start(DecoderInput input) {
  const std::int64_t batch = input.encoded.at("memory").shape()[0], tokens = input.encoded.at("memory").shape()[1];
  std::unique_ptr<DecoderSteps> steps = bind_steps(std::move(input));
  if (!delays()) return steps;
  return std::make_unique<DelayedSteps>(std::move(steps), manifest_, batch, tokens, chunk_steps_, launches_in_flight_);
}

// Rows that share the device only in name: each has steps of its own.
class FakeRows : public RowSteps {
 public:
  using StartRow = std::function<std::unique_ptr<DecoderSteps>(DecoderInput)>;

  FakeRows(std::size_t max_rows, std::int64_t chunk_steps, std::int64_t step_size, StartRow start_row)
      : max_rows_(max_rows),
        chunk_steps_(chunk_steps),
        step_size_(static_cast<std::size_t>(step_size)),
        start_row_(std::move(start_row)) {}

  std::size_t max_rows() const override { return max_rows_; }
  std::int64_t chunk_steps() const override { return chunk_steps_; }
  std::vector<std::vector<std::int64_t>> checked_batches() const override { return {{3, 9, 3}}; }

  std::size_t join(const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t) override {
    const auto free = std::find(rows_.begin(), rows_.end(), nullptr);
    const auto number = static_cast<std::size_t>(free - rows_.begin());
    if (free == rows_.end()) rows_.emplace_back();
    rows_[number] = std::make_shared<Row>(Row{start_row_({encoded, {noise}, {0}, gate_logit}),
                                              static_cast<std::size_t>(encoded.at("memory").shape()[1])});
    return number;
  }

  void leave(std::size_t row) noexcept override { rows_[row] = nullptr; }

  void launch(const std::vector<Start>& rows) override {
    std::vector<std::shared_ptr<Row>> launched;
    for (const Start& start : rows) launched.push_back(rows_[start.row]);
    for (const auto& row : launched) row->steps->launch();
    launched_.push_back(std::move(launched));
  }

  std::vector<Chunk> read() override {
    read_ = std::move(launched_.front());
    launched_.pop_front();
    std::vector<Chunk> chunks;
    for (const auto& row : read_) {
      const DecoderSteps::Chunk own = row->steps->read();
      chunks.push_back({{own.mel, step_size_}, {own.gate_logits, 1}, {own.attention_weights, row->tokens}});
    }
    return chunks;
  }

 private:
  struct Row {
    std::unique_ptr<DecoderSteps> steps;
    std::size_t tokens;
  };

  std::size_t max_rows_;
  std::int64_t chunk_steps_;
  std::size_t step_size_;
  StartRow start_row_;
  std::vector<std::shared_ptr<Row>> rows_;  // by number; nullptr: it is free
  std::deque<std::vector<std::shared_ptr<Row>>> launched_;
  std::vector<std::shared_ptr<Row>> read_;  // whose chunks are valid
};

std::unique_ptr<RowSteps> FakeInstance::row_steps(const Profile& profile) {
  if (launches_in_flight_ == 1) return nullptr;
  const auto max_rows = static_cast<std::size_t>(profile.max_rows);
  return std::make_unique<FakeRows>(max_rows, chunk_steps_, manifest_.frames_per_step * manifest_.n_mel_channels,
                                    [this](DecoderInput input) { return start(std::move(input)); });
}

std::unique_ptr<HostSteps> FakeInstance::bind_steps(DecoderInput input) {
  if (observe_) observe_("decoder_step", input.encoded);
  const auto bind = [this](const ConstTensorRefs& in, const TensorRefs& out) { return [=] { step(in, out); }; };
  return std::make_unique<HostSteps>(bind, manifest_, std::move(input));
}

class FakeBackend : public Backend {
 public:
  FakeBackend(Manifest manifest, std::int64_t chunk_steps, std::int64_t launches_in_flight,
              std::vector<std::int64_t> vocoder_sizes, Observer observe)
      : manifest_(std::move(manifest)),
        chunk_steps_(chunk_steps),
        launches_in_flight_(launches_in_flight),
        vocoder_sizes_(std::move(vocoder_sizes)),
        observe_(std::move(observe)) {}

  std::unique_ptr<BackendInstance> create_instance() override {
    return std::make_unique<FakeInstance>(manifest_, chunk_steps_, launches_in_flight_, vocoder_sizes_, observe_);
  }

  std::int64_t parallel_windows() const override { return launches_in_flight_ > 1 ? 0 : 2; }

 private:
  Manifest manifest_;
  std::int64_t chunk_steps_, launches_in_flight_;
  std::vector<std::int64_t> vocoder_sizes_;
  Observer observe_;
};

}  // namespace

std::unique_ptr<Backend> open_fake_backend(const Manifest& manifest, std::int64_t chunk_steps,
                                           std::int64_t launches_in_flight, std::vector<std::int64_t> vocoder_sizes,
                                           Observer observe) {
  return std::make_unique<FakeBackend>(manifest, chunk_steps, launches_in_flight, std::move(vocoder_sizes),
                                       std::move(observe));
}

}  // namespace tacoglow
