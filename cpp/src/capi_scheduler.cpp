// Implements the part of tacoglow.h that speaks many requests at once.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "capi.hpp"
#include "owned_speech.hpp"
#include "scheduling/scheduler.hpp"

using tacoglow::scheduling::Callbacks;
using tacoglow::scheduling::Handle;
using tacoglow::scheduling::Scheduler;

struct tacoglow_scheduler {
  Scheduler scheduler;
};

struct tacoglow_handle {
  std::shared_ptr<const tacoglow::Voice> voice;
  std::shared_ptr<Handle> handle;
  std::vector<float> segment;  // the one that tacoglow_handle_next has returned last
};

namespace {

Callbacks to_callbacks(const tacoglow_submission& given, tacoglow_handle* handle) {
  Callbacks callbacks;
  if (given.on_segment != nullptr)
    callbacks.on_segment = [given](const std::vector<float>& samples) {
      return given.on_segment(samples.data(), samples.size(), given.user) == 0;
    };
  if (given.on_end != nullptr) callbacks.on_end = [given, handle] { given.on_end(handle, given.user); };
  return callbacks;
}

}  // namespace

using tacoglow::require;
using tacoglow::to_status;
using tacoglow::with_defaults;

void tacoglow_scheduler_options_init_sized(tacoglow_scheduler_options* options, size_t size) {
  tacoglow::set_defaults(options, size, {});
}

void tacoglow_submission_init_sized(tacoglow_submission* submission, size_t size) {
  tacoglow::set_defaults(submission, size, {});
}

tacoglow_status tacoglow_scheduler_open(tacoglow_voice* voice, const tacoglow_scheduler_options* options,
                                        tacoglow_scheduler** scheduler) {
  if (scheduler != nullptr) *scheduler = nullptr;
  return to_status([&] {
    require(voice, "voice");
    require(scheduler, "scheduler");
    const auto given = with_defaults(options, tacoglow_scheduler_options_init_sized);
    *scheduler = new tacoglow_scheduler{
        {voice->voice,
         {tacoglow::scheduling::find_profile(given.profile), given.max_rows, given.lanes, given.max_backlog}}};
  });
}

void tacoglow_scheduler_close(tacoglow_scheduler* scheduler) { delete scheduler; }

tacoglow_status tacoglow_submit(tacoglow_scheduler* scheduler, const tacoglow_request* request,
                                const tacoglow_submission* submission, tacoglow_handle** handle) {
  if (handle != nullptr) *handle = nullptr;
  return to_status([&] {
    require(scheduler, "scheduler");
    require(handle, "handle");
    const auto given = with_defaults(submission, tacoglow_submission_init_sized);
    const bool is_stream = given.stream != 0;
    if (given.on_segment != nullptr && !is_stream)
      throw tacoglow::request_error("on_segment: is for a stream; set stream to 1, or take tacoglow_handle_result");
    auto owned = std::make_unique<tacoglow_handle>();
    owned->voice = scheduler->scheduler.voice();
    tacoglow::Request resolved = tacoglow::resolve(*owned->voice, request, is_stream);
    owned->handle = std::make_shared<Handle>(to_callbacks(given, owned.get()), owned->voice->manifest.sampling_rate);
    *handle = owned.get();  // before a callback may want it
    try {
      scheduler->scheduler.submit(std::move(resolved), is_stream, given.client != nullptr ? given.client : "",
                                  owned->handle);
    } catch (...) {
      *handle = nullptr;
      throw;
    }
    owned.release();
  });
}

tacoglow_status tacoglow_handle_next(tacoglow_handle* handle, const float** samples, size_t* n_samples) {
  if (samples != nullptr) *samples = nullptr;
  if (n_samples != nullptr) *n_samples = 0;
  return to_status([&] {
    require(handle, "handle");
    require(samples, "samples");
    require(n_samples, "n_samples");
    if (!handle->handle->next(handle->segment)) return;
    *samples = handle->segment.data();
    *n_samples = handle->segment.size();
  });
}

tacoglow_status tacoglow_handle_result(tacoglow_handle* handle, tacoglow_speech** speech) {
  if (speech != nullptr) *speech = nullptr;
  return to_status([&] {
    require(handle, "handle");
    require(speech, "speech");
    tacoglow::Speech result = handle->handle->result();
    try {
      *speech = new tacoglow::OwnedSpeech(*handle->voice, std::move(result));
    } catch (...) {  // without memory, the caller may ask again
      handle->handle->finish(std::move(result));
      throw;
    }
  });
}

void tacoglow_handle_cancel(tacoglow_handle* handle) {
  if (handle != nullptr) handle->handle->cancel();
}

void tacoglow_handle_close(tacoglow_handle* handle) {
  if (handle == nullptr) return;
  handle->handle->abandon();
  delete handle;
}
