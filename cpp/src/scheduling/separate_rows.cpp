#include "separate_rows.hpp"

#include <mutex>
#include <utility>

namespace tacoglow::scheduling {

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

void advance_separately(const Rows& rows, std::int64_t n_steps) {
  const auto each = [&](const auto& work) {
    for (const auto& row : rows) {
      if (!row->is_running()) continue;
      try {
        work(*row);
      } catch (...) {
        row->failure = std::current_exception();
      }
    }
  };
  each([](Row& row) { row.decoding->launch_ahead(); });
  each([=](Row& row) {
    const std::int64_t end = row.step() + n_steps;
    while (row.decoding->running() && row.step() < end) row.decoding->read_chunk();
  });
}

SeparateRows::SeparateRows(const Voice& voice, std::size_t max_rows)
    : voice_(voice), max_rows_(max_rows), idle_(std::make_shared<IdleInstances>()) {}

std::shared_ptr<Row> SeparateRows::open(DecodedItem item, std::shared_ptr<const Tensors> encoded) {
  // An instance is used again once its row is gone, because its captures are worth keeping.
  std::shared_ptr<Row> row(new Row(std::move(item), std::move(encoded)), [idle = idle_](Row* ended) {
    ended->decoding.reset();
    if (ended->backend) idle->put_back(std::move(ended->backend));  // there is none if it could not be created
    delete ended;
  });
  row->backend = idle_->take(*voice_.backend);
  row->decoding =
      std::make_unique<Decoding>(*row->backend, voice_.manifest, *row->encoded, std::vector<DecodedItem*>{&row->item});
  return row;
}

}  // namespace tacoglow::scheduling
