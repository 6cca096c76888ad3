#include "rows.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>

#include "encoder.hpp"

namespace tacoglow::scheduling {
namespace {

constexpr std::int64_t checked_steps = 8;

// Copies the part of a state [1, N] that fits into a row of a state [B, M]: only states over tokens have another width,
// and are zero at the padding.
void copy_row(const Tensor& state, Tensor& stacked, std::size_t row) {
  const std::size_t width = stacked.size_bytes() / static_cast<std::size_t>(stacked.shape()[0]);
  auto* target = static_cast<unsigned char*>(stacked.data()) + row * width;
  std::memcpy(target, state.data(), std::min(width, state.size_bytes()));
}

// Returns a row of a state [B, N] as [1, N].
Tensor take_row(const Tensor& stacked, std::size_t row) {
  Shape shape = stacked.shape();
  shape[0] = 1;
  Tensor state(stacked.dtype(), shape);
  std::memcpy(state.data(), static_cast<const unsigned char*>(stacked.data()) + row * state.size_bytes(),
              state.size_bytes());
  return state;
}

// Rows that share decoder steps on the host. A row keeps its own step number, by which its dropout is drawn, and its
// own states, which are copied out and in whenever the set of rows changes.
class SharedRows : public RowDecoder {
 public:
  SharedRows(const Manifest& manifest, BackendInstance& backend) : manifest_(manifest), backend_(backend) {}

  std::shared_ptr<Row> open(DecodedItem item, std::shared_ptr<const Tensors> encoded) override {
    auto row = std::make_shared<Row>(std::move(item), std::move(encoded));
    row->item.reserve(manifest_);
    return row;
  }

  void advance(const Rows& rows, std::int64_t n_steps) override {
    if (!is_permutation(rows)) regroup(rows);
    const std::int64_t step_size = manifest_.frames_per_step * manifest_.n_mel_channels;
    for (bool has_ended = false; n_steps > 0 && !has_ended; --n_steps) {
      steps_->launch();
      const DecoderSteps::Chunk chunk = steps_->read();
      for (std::size_t i = 0; i < rows_.size(); ++i) {
        const auto index = static_cast<std::int64_t>(i);
        rows_[i]->item.append(chunk.mel + index * step_size, chunk.gate_logits[i],
                              chunk.attention_weights + index * padded_tokens_, manifest_);
        has_ended = has_ended || rows_[i]->item.decoded.finished;
      }
    }
  }

 private:
  bool is_permutation(const Rows& rows) const {
    return rows.size() == rows_.size() && std::is_permutation(rows.begin(), rows.end(), rows_.begin());
  }

  // Makes `rows` the running batch.
  void regroup(const Rows& rows) {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (rows_[i]->item.decoded.finished) continue;
      for (const auto& [name, state] : steps_->states()) rows_[i]->states[name] = take_row(state, i);
      rows_[i]->reached = steps_->reached(i);
    }
    rows_.clear();  // unless the new steps start, there is no running batch
    steps_ = start(rows);
    rows_ = rows;
  }

  std::unique_ptr<HostSteps> start(const Rows& rows) {
    DecoderInput input{};
    std::vector<const Tensors*> encoded;
    padded_tokens_ = 0;
    for (const auto& row : rows) {
      padded_tokens_ = std::max(padded_tokens_, row->bucket());
      encoded.push_back(row->encoded.get());
      input.noises.push_back(row->item.noise);
      input.attention_windows.push_back(row->item.options.attention_window);
      input.before.steps.push_back(row->step());
      input.before.reached.push_back(row->reached);
    }
    input.encoded = pad_and_stack(encoded, padded_tokens_);
    const Dims dims = {{'B', static_cast<std::int64_t>(rows.size())}, {'T', padded_tokens_}};
    for (const auto& [source, target] : manifest_.states) {
      const TensorSpec& spec = manifest_.graphs.at("decoder_step").tensor(source);
      Tensor& stacked = input.before.states[source] = Tensor(spec.dtype, spec.resolve(dims));
      for (std::size_t i = 0; i < rows.size(); ++i)
        if (!rows[i]->states.empty()) copy_row(rows[i]->states.at(source), stacked, i);
    }
    return backend_.start_on_host(std::move(input));
  }

  const Manifest& manifest_;
  BackendInstance& backend_;
  Rows rows_;  // the running batch
  std::unique_ptr<HostSteps> steps_;
  std::int64_t padded_tokens_ = 0;
};

// Backend instances that no row has. A row may end in a lane, with the last job of a request that was cancelled.
class IdleInstances {
 public:
  // Returns one that was put back, or a new one.
  std::unique_ptr<BackendInstance> take(Backend& backend) {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      auto created = backend.create_instance();
      idle_.reserve(++n_instances_);  // so that putting one back cannot fail
      return created;
    }
    auto instance = std::move(idle_.back());
    idle_.pop_back();
    return instance;
  }

  void put_back(std::unique_ptr<BackendInstance> instance) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(instance));
  }

 private:
  std::mutex mutex_;  // of the two below
  std::vector<std::unique_ptr<BackendInstance>> idle_;
  std::size_t n_instances_ = 0;
};

// Rows with a batch and a backend instance each, because on a GPU a running batch is part of captured graphs. All of
// them are launched before any is waited for.
class SeparateRows : public RowDecoder {
 public:
  explicit SeparateRows(const Voice& voice) : voice_(voice) {}

  std::shared_ptr<Row> open(DecodedItem item, std::shared_ptr<const Tensors> encoded) override {
    // An instance is used again once its row is gone, because its captures are worth keeping.
    std::shared_ptr<Row> row(new Row(std::move(item), std::move(encoded)), [idle = idle_](Row* ended) {
      ended->decoding.reset();
      if (ended->backend) idle->put_back(std::move(ended->backend));  // there is none if it could not be created
      delete ended;
    });
    row->backend = idle_->take(*voice_.backend);
    row->decoding = std::make_unique<Decoding>(*row->backend, voice_.manifest, *row->encoded,
                                               std::vector<DecodedItem*>{&row->item});
    return row;
  }

  void advance(const Rows& rows, std::int64_t n_steps) override {
    for (const auto& row : rows) row->decoding->launch_ahead();
    for (const auto& row : rows) {
      const std::int64_t end = row->step() + n_steps;
      while (row->decoding->running() && row->step() < end) row->decoding->read_chunk();
    }
  }

 private:
  const Voice& voice_;
  std::shared_ptr<IdleInstances> idle_ = std::make_shared<IdleInstances>();
};

// A made-up item that does not end within the checked steps.
struct MadeUp {
  DecodedItem item;
  std::shared_ptr<const Tensors> encoded;
};

// Returns the mels of the first steps of some items, decoded in one batch.
std::vector<std::vector<float>> decode(const Manifest& manifest, BackendInstance& backend,
                                       const std::vector<MadeUp>& items) {
  SharedRows decoder(manifest, backend);
  Rows rows;
  for (const MadeUp& each : items) rows.push_back(decoder.open(each.item, each.encoded));
  decoder.advance(rows, checked_steps);
  std::vector<std::vector<float>> mels;
  for (const auto& row : rows) {
    const MelView mel = row->item.decoded.mel.view();
    mels.emplace_back(mel.values, mel.values + mel.n_frames * mel.n_channels);
  }
  return mels;
}

std::vector<MadeUp> make_up(const Manifest& manifest, BackendInstance& backend) {
  const std::int64_t longest = manifest.dimensions.at('T').max;
  const std::int64_t frames = std::min(checked_steps * manifest.frames_per_step, manifest.max_frames);
  std::vector<MadeUp> items;
  for (const std::int64_t length : {std::min<std::int64_t>(5, longest), longest, std::min<std::int64_t>(9, longest)}) {
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < length; ++i)
      ids.push_back(static_cast<std::int32_t>(i % static_cast<std::int64_t>(manifest.symbols.size())));
    const DecodeOptions options = {1.0, frames, 0, 0, {}};  // a gate that never fires
    items.push_back({{length, Noise(items.size(), 0), options, {}},
                     std::make_shared<const Tensors>(encode(backend, manifest, ids))});
  }
  return items;
}

// True if the states of decoder steps are in host memory.
bool keeps_states_on_host(BackendInstance& backend, const MadeUp& made_up) {
  DecoderInput input{};
  input.encoded = *made_up.encoded;
  input.noises.push_back(made_up.item.noise);
  input.attention_windows.push_back(0);
  return backend.start_on_host(std::move(input)) != nullptr;
}

bool rounds_alike(const Manifest& manifest, BackendInstance& backend, const std::vector<MadeUp>& items,
                  std::size_t max_rows) {
  std::vector<std::vector<float>> alone;
  for (const MadeUp& each : items) alone.push_back(decode(manifest, backend, {each}).front());
  for (const std::size_t n_rows : std::set<std::size_t>{2, 3, max_rows}) {
    if (n_rows > max_rows) continue;
    std::vector<MadeUp> batch;
    for (std::size_t i = 0; i < n_rows; ++i) batch.push_back(items[i % items.size()]);
    const auto together = decode(manifest, backend, batch);
    for (std::size_t i = 0; i < n_rows; ++i)
      if (together[i] != alone[i % items.size()]) return false;
  }
  return true;
}

}  // namespace

std::unique_ptr<RowDecoder> open_row_decoder(const Voice& voice, BackendInstance& backend, std::size_t max_rows) {
  const std::vector<MadeUp> items = make_up(voice.manifest, backend);
  if (keeps_states_on_host(backend, items.front()) && rounds_alike(voice.manifest, backend, items, max_rows))
    return std::make_unique<SharedRows>(voice.manifest, backend);
  return std::make_unique<SeparateRows>(voice);
}

}  // namespace tacoglow::scheduling
