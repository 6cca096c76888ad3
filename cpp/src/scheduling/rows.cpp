#include "rows.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "device_rows.hpp"
#include "encoder.hpp"
#include "separate_rows.hpp"
#include "shared_rows.hpp"

namespace tacoglow::scheduling {
namespace {

constexpr std::int64_t checked_steps = 8;
constexpr std::uint64_t checked_seeds = 3;

using Samples = std::vector<float>;

// A made-up item that does not end within the checked steps.
struct MadeUp {
  DecodedItem item;
  std::shared_ptr<const Tensors> encoded;
};

MadeUp make_up(const Manifest& manifest, BackendInstance& backend, std::int64_t length, std::uint64_t seed) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < length; ++i)
    ids.push_back(static_cast<std::int32_t>(i % static_cast<std::int64_t>(manifest.symbols.size())));
  const std::int64_t frames = std::min(checked_steps * manifest.frames_per_step, manifest.max_frames);
  const DecodeOptions options = {1.0, frames, 0, 0, {}};  // a gate that never fires
  return {{length, Noise(seed, 0), options, {}}, std::make_shared<const Tensors>(encode(backend, manifest, ids))};
}

Samples mel_of(const DecodedItem& item) {
  const MelView mel = item.decoded.mel.view();
  return {mel.values, mel.values + mel.n_frames * mel.n_channels};
}

Samples decode_alone(const Manifest& manifest, BackendInstance& backend, MadeUp made_up) {
  Decoding decoding(backend, manifest, *made_up.encoded, {&made_up.item});
  while (decoding.running()) decoding.read_chunk();
  return mel_of(made_up.item);
}

std::vector<Samples> decode_together(RowDecoder& decoder, const std::vector<MadeUp>& items) {
  Rows rows;
  for (const MadeUp& each : items) rows.push_back(decoder.open(each.item, each.encoded));
  const auto is_running = [](const auto& row) { return row->is_running(); };
  while (std::any_of(rows.begin(), rows.end(), is_running)) decoder.advance(rows, checked_steps);
  std::vector<Samples> mels;
  for (const auto& row : rows) {
    if (row->failure) std::rethrow_exception(row->failure);
    mels.push_back(mel_of(row->item));
  }
  return mels;
}

// True if rows of every length speak the same bits alone and in any batch on this machine.
bool rounds_alike(const Voice& voice, RowDecoder& decoder) {
  const auto backend = voice.backend->create_instance();  // its captures for single items are not kept
  std::map<std::pair<std::int64_t, std::uint64_t>, std::pair<MadeUp, Samples>> alone;
  for (const std::vector<std::int64_t>& batch : decoder.checked_batches()) {
    std::vector<MadeUp> items;
    std::vector<Samples> expected;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const std::pair<std::int64_t, std::uint64_t> key = {batch[i], i % checked_seeds};
      if (alone.count(key) == 0) {
        const MadeUp made_up = make_up(voice.manifest, *backend, key.first, key.second);
        alone.emplace(key, std::pair(made_up, decode_alone(voice.manifest, *backend, made_up)));
      }
      items.push_back(alone.at(key).first);
      expected.push_back(alone.at(key).second);
    }
    if (decode_together(decoder, items) != expected) return false;
  }
  return true;
}

// True if the states of decoder steps are in host memory.
bool keeps_states_on_host(const Manifest& manifest, BackendInstance& backend) {
  const MadeUp made_up = make_up(manifest, backend, manifest.dimensions.at('T').max, 0);
  DecoderInput input{};
  input.encoded = *made_up.encoded;
  input.noises.push_back(made_up.item.noise);
  input.attention_windows.push_back(0);
  return backend.start_on_host(std::move(input)) != nullptr;
}

// Returns the decoder in which rows share steps; nullptr if there is none.
std::unique_ptr<RowDecoder> share_steps(const Voice& voice, BackendInstance& backend, const Profile& profile) {
  if (auto steps = backend.row_steps(profile))
    return std::make_unique<DeviceRows>(voice.manifest, backend, std::move(steps));
  if (keeps_states_on_host(voice.manifest, backend))
    return std::make_unique<SharedRows>(voice.manifest, backend, static_cast<std::size_t>(profile.max_rows));
  return nullptr;
}

}  // namespace

std::unique_ptr<RowDecoder> open_row_decoder(const Voice& voice, BackendInstance& backend, const Profile& profile) {
  auto decoder = share_steps(voice, backend, profile);
  if (decoder && rounds_alike(voice, *decoder)) return decoder;
  return std::make_unique<SeparateRows>(voice, static_cast<std::size_t>(profile.max_rows));
}

}  // namespace tacoglow::scheduling
