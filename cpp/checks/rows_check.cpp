// Rows that share decoder steps on the pretended GPU: each is what it is alone, whoever joins, rests, leaves or fails
// beside it.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "encoder.hpp"
#include "error.hpp"
#include "rows_check.hpp"
#include "same_speech.hpp"
#include "scheduling/device_rows.hpp"
#include "scheduling/rows.hpp"
#include "scheduling/separate_rows.hpp"

namespace tacoglow::checks {
namespace {

using namespace scheduling;

void refuse_after(const char* function, std::int64_t calls, int status) {
  simulated::call_driver<void>("pretend_refuse_after", function, calls, status);
}

// An item to be decoded, of some length, noise and end.
struct Task {
  DecodedItem item;
  std::shared_ptr<const Tensors> encoded;

  Task(const Manifest& manifest, BackendInstance& backend, std::int64_t length, std::uint64_t seed, double gate = never,
       std::int64_t max_steps = 1 << 20)
      : item{length, Noise(seed, 0), {gate, 0, 0, 0, {}}, {}} {
    const std::vector<std::int32_t> ids(static_cast<std::size_t>(length), static_cast<std::int32_t>(1 + seed % 20));
    item.options.max_frames = std::min(manifest.max_frames, max_steps * manifest.frames_per_step);
    encoded = std::make_shared<const Tensors>(encode(backend, manifest, ids));
  }

  Decoded alone(const Manifest& manifest, BackendInstance& backend) const {
    DecodedItem own = item;
    Decoding decoding(backend, manifest, *encoded, {&own});
    while (decoding.running()) decoding.read_chunk();
    return std::move(own.decoded);
  }
};

void require_same_item(const Row& row, const Decoded& expected, const std::string& what) {
  const Decoded& got = row.item.decoded;
  require(!row.failure && got.finished, what + ": has not ended");
  const MelView mel = got.mel.view(), wanted = expected.mel.view();
  require(got.frames_decoded == expected.frames_decoded && got.stop_reason() == expected.stop_reason(),
          what + ": another end");
  require(std::equal(mel.values, mel.values + mel.n_frames * mel.n_channels, wanted.values), what + ": another mel");
  require(got.gate_logits == expected.gate_logits, what + ": another gate");
  require(got.alignment == expected.alignment, what + ": another alignment");
}

// Steps that note what is asked of them.
class NotingSteps : public RowSteps {
 public:
  NotingSteps(std::unique_ptr<RowSteps> rows, std::vector<std::string>& events)
      : rows_(std::move(rows)), events_(events) {}

  std::size_t max_rows() const override { return rows_->max_rows(); }
  std::int64_t chunk_steps() const override { return rows_->chunk_steps(); }
  std::vector<std::vector<std::int64_t>> checked_batches() const override { return rows_->checked_batches(); }
  std::size_t join(const Tensors& encoded, const Noise& noise, float gate_logit, std::int64_t step_limit) override {
    return rows_->join(encoded, noise, gate_logit, step_limit);
  }
  void leave(std::size_t row) noexcept override { rows_->leave(row); }
  void launch(const std::vector<Start>& rows) override {
    events_.push_back("launch " + std::to_string(rows.size()));
    rows_->launch(rows);
  }
  std::vector<Chunk> read() override {
    events_.push_back("read");
    return rows_->read();
  }

 private:
  std::unique_ptr<RowSteps> rows_;
  std::vector<std::string>& events_;
};

// A voice on the pretended GPU, and a decoder of up to `max_rows` rows on it.
struct Device {
  std::shared_ptr<const Voice> voice;
  std::unique_ptr<BackendInstance> backend, other;  // other: for items alone
  std::vector<std::string> events;
  std::unique_ptr<DeviceRows> rows;

  Device(const Manifest& manifest, const std::filesystem::path& plans, std::int64_t max_rows)
      : voice(open_with_tensorrt(manifest, plans)),
        backend(voice->backend->create_instance()),
        other(voice->backend->create_instance()) {
    auto own = std::make_unique<NotingSteps>(backend->row_steps({max_rows, steps, steps}), events);
    rows = std::make_unique<DeviceRows>(voice->manifest, *backend, std::move(own));
  }

  const Manifest& manifest() const { return voice->manifest; }
  Task task(std::int64_t length, std::uint64_t seed, double gate = never, std::int64_t max_steps = 1 << 20) const {
    return {manifest(), *other, length, seed, gate, max_steps};
  }
  std::shared_ptr<Row> open(const Task& task) const { return rows->open(task.item, task.encoded); }
  Decoded alone(const Task& task) const { return task.alone(manifest(), *other); }
  void finish(const Rows& running) const {
    const auto is_running = [](const auto& row) { return row->is_running(); };
    while (std::any_of(running.begin(), running.end(), is_running)) rows->advance(running, steps);
  }
};

// Rows of several lengths and ends, of which any set takes part in a chunk; others rest, come later, or are dropped.
void check_any_company(const Manifest& manifest, const std::filesystem::path& plans) {
  std::mt19937_64 random(1);
  const auto draw = [&](std::uint64_t below) { return static_cast<std::int64_t>(random() % below); };
  const Device device(manifest, plans, 3);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::pair<Task, std::shared_ptr<Row>>> tasks;
    Rows running;
    std::uint64_t left = 5;
    while (left > 0 || !running.empty()) {
      if (left > 0 && (running.empty() || draw(2) == 0)) {
        const auto most = static_cast<std::uint64_t>(manifest.dimensions.at('T').max);
        tasks.emplace_back(device.task(1 + draw(most), --left, draw(2) == 0 ? 0.7 : never, 1 + draw(40)), nullptr);
        tasks.back().second = device.open(tasks.back().first);
        running.push_back(tasks.back().second);
        if (draw(6) == 0) tasks.pop_back(), running.pop_back();  // its request was cancelled
      }
      Rows chosen;
      for (const auto& row : running)
        if (draw(2) == 0 && chosen.size() < device.rows->max_rows()) chosen.push_back(row);
      device.rows->advance(chosen, steps);
      const auto has_ended = [](const auto& row) { return !row->is_running(); };
      running.erase(std::remove_if(running.begin(), running.end(), has_ended), running.end());
    }
    for (const auto& [task, row] : tasks) require_same_item(*row, device.alone(task), "a row in any company");
  }
}

void check_launched_ahead(const Manifest& manifest, const std::filesystem::path& plans) {
  Device device(manifest, plans, 2);
  const Rows rows = {device.open(device.task(5, 0, never, 3 * steps)), device.open(device.task(38, 1, never, steps))};
  device.finish(rows);
  const std::vector<std::string> expected = {"launch 2", "launch 1", "read", "launch 1", "read", "read"};
  require(device.events == expected, "a chunk of all rows should be launched before the one before it is read");
}

// While the same rows run, nothing is moved, allocated or captured.
void check_steady(const Manifest& manifest, const std::filesystem::path& plans) {
  Device device(manifest, plans, 4);
  const Rows rows = {device.open(device.task(5, 0)), device.open(device.task(9, 1)), device.open(device.task(7, 2))};
  device.rows->advance(rows, steps);
  const auto count = [] {
    std::vector<std::int64_t> counts = {count_calls("cuMemcpyAsync") - count_calls("kernel draw_dropout")};  // its keys
    for (const auto* call : {"cuMemAlloc", "cuMemAllocHost", "cuEventCreate", "cuStreamBeginCapture"})
      counts.push_back(count_calls(call));
    return counts;
  };
  const std::int64_t launched = count_launches(*device.voice), graphs = count_calls("cuGraphLaunch");
  const auto before = count();
  for (int i = 0; i < 3; ++i) device.rows->advance(rows, steps);
  require(count() == before, "a chunk of the same rows should only launch a CUDA graph");
  require(count_calls("cuGraphLaunch") == graphs + 3, "a chunk of the same rows should be one CUDA graph");
  device.rows->advance({}, steps);  // reads the last chunk
  require(count_launches(*device.voice) == launched + 4, "a chunk of several rows should be one launch");
}

void check_places(const Manifest& manifest, const std::filesystem::path& plans) {
  const Device device(manifest, plans, 2);
  const Rows ended = {device.open(device.task(5, 0, never, steps))};
  auto dropped = device.open(device.task(5, 1));
  device.finish(ended);
  dropped.reset();
  const Rows again = {device.open(device.task(5, 2)), device.open(device.task(5, 3))};
  require(again[0]->number == 0 && again[1]->number == 1, "the places of rows that have gone should be free again");
}

// A chunk that cannot be launched ends the rows in it, and no other.
void check_failures(const Manifest& manifest, const std::filesystem::path& plans, bool is_engine) {
  for (const char* function : {"cuGraphLaunch", "cuCtxSetCurrent", "cuMemcpyAsync"}) {
    const bool is_copied = function == std::string("cuMemcpyAsync");  // where rows are moved
    if (is_copied && !is_engine) continue;                            // the fused decoder moves nothing
    const Device device(manifest, plans, 4);
    const Task tasks[] = {device.task(5, 0), device.task(6, 1), device.task(7, 2), device.task(38, 3)};
    const auto first = device.open(tasks[0]), second = device.open(tasks[1]), resting = device.open(tasks[2]);
    device.rows->advance({first, second, resting}, steps);
    device.rows->advance({first, second}, steps);  // reads the first chunk
    const Rows concerned = is_copied ? Rows{first} : Rows{first, second};
    refuse(function, launch_failed);
    device.rows->advance(concerned, steps);
    refuse(function, works);
    for (const auto& row : concerned) require(row->failure != nullptr, std::string("should have failed: ") + function);
    require(resting->is_running(), "a row that rests should not fail");
    const auto joined = device.open(tasks[3]);
    Rows going = {resting, joined};
    if (is_copied) going.push_back(second);
    device.finish(going);
    require_same_item(*resting, device.alone(tasks[2]), std::string("a row that rested beside a failing ") + function);
    require_same_item(*joined, device.alone(tasks[3]), std::string("a row that joined after a failing ") + function);
    if (is_copied) require_same_item(*second, device.alone(tasks[1]), "a row that could not be moved");
  }
}

// Only the first of a chunk's two launches works.
void check_failure_in_part(const Manifest& manifest, const std::filesystem::path& plans) {
  const Device device(manifest, plans, 2);
  const Task task = device.task(6, 1);
  const auto first = device.open(device.task(5, 0)), resting = device.open(task);  // of one bucket, or of one group
  const auto other = device.open(device.task(38, 2));
  device.rows->advance({first, other}, steps);
  const std::int64_t before = count_calls("cuGraphLaunch");
  refuse_after("cuGraphLaunch", 1, launch_failed);
  device.rows->advance({first, other}, steps);
  refuse("cuGraphLaunch", works);
  require(count_calls("cuGraphLaunch") == before + 2, "two rows should have needed two launches");
  require(first->failure && other->failure, "both rows of the chunk should have failed");
  device.finish({resting});
  require_same_item(*resting, device.alone(task), "a row that rested beside a launch which failed in part");
}

// After a failure on the GPU itself, a process cannot use it any more.
void check_trap(const Manifest& manifest, const std::filesystem::path& plans) {
  const Device device(manifest, plans, 2);
  const Rows rows = {device.open(device.task(5, 0)), device.open(device.task(6, 1))};
  refuse("kernel fused_decoder", launch_failed);
  for (int i = 0; i < 2; ++i) device.rows->advance(rows, steps);
  for (const auto& row : rows) {
    require(row->failure != nullptr, "a row should fail with its chunk");
    try {
      std::rethrow_exception(row->failure);
    } catch (const Error& error) {
      require(std::string(error.what()).find("to decode with the engine") != std::string::npos, error.what());
    }
  }
}

// Only an engine can do this.
void check_rounding(const Manifest& manifest, const std::filesystem::path& plans) {
  const auto voice = open_with_tensorrt(manifest, plans);
  const auto backend = voice->backend->create_instance();
  simulated::tensorrt().rounds_by_batch = true;
  const auto open = [&](std::int64_t rows) { return open_row_decoder(*voice, *backend, {rows, steps, steps}); };
  require(dynamic_cast<DeviceRows*>(open(2).get()) != nullptr, "two rows should share steps");
  require(dynamic_cast<SeparateRows*>(open(4).get()) != nullptr, "rows that a batch changes should have one each");
  simulated::tensorrt().rounds_by_batch = false;
  require(dynamic_cast<DeviceRows*>(open(4).get()) != nullptr, "four rows should share steps");
}

void check_narrow_plans(const Manifest& manifest, const std::filesystem::path& plans) {
  const auto voice = open_with_tensorrt(manifest, plans, 110100, 3);
  const auto backend = voice->backend->create_instance();
  require(open_row_decoder(*voice, *backend, {8, steps, steps})->max_rows() == 3,
          "there should be no more rows than plans were built for");
}

void check_without_graphs(const Manifest& manifest, const std::filesystem::path& plans) {
  Device device(manifest, plans, 1);
  device.rows.reset();
  simulated::call_driver<void>("pretend_reject_captures", true);
  const std::int64_t graphs = count_calls("cuGraphLaunch");
  device.rows =
      std::make_unique<DeviceRows>(device.manifest(), *device.backend, device.backend->row_steps({2, steps, steps}));
  const Task tasks[] = {device.task(5, 0), device.task(9, 1)};
  const Rows rows = {device.open(tasks[0]), device.open(tasks[1])};
  device.finish(rows);
  require(count_calls("cuGraphLaunch") == graphs, "no CUDA graph should be left if captures fail");
  for (std::size_t i = 0; i < rows.size(); ++i)
    require_same_item(*rows[i], device.alone(tasks[i]), "a row without CUDA graphs");
}

}  // namespace

void check_rows(const Manifest& manifest, const std::filesystem::path& plans) {
  const bool is_engine = open_with_tensorrt(manifest, plans)->decoder.rfind("engine", 0) == 0;
  check_launched_ahead(manifest, plans);
  check_steady(manifest, plans);
  check_places(manifest, plans);
  check_any_company(manifest, plans);
  check_failures(manifest, plans, is_engine);
  check_failure_in_part(manifest, plans);
  check_without_graphs(manifest, plans);
  if (!is_engine) return check_trap(manifest, plans);
  check_rounding(manifest, plans);
  check_narrow_plans(manifest, plans);
}

}  // namespace tacoglow::checks
