// Implements tacoglow.h: handles, conversion of structures, and exceptions turned into statuses.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bundle_files.hpp"
#include "capi.hpp"
#include "files.hpp"
#include "owned_speech.hpp"
#include "synthesizer.hpp"
#include "tacoglow.h"
#include "wav.hpp"

struct tacoglow_session {
  tacoglow::Session session;
};

namespace tacoglow {
namespace {

thread_local std::string last_error;

}  // namespace

// Stores the message as one line: backends may report several.
tacoglow_status fail(const Failure& failure) noexcept {
  try {
    last_error = failure.message;
    while (!last_error.empty() && last_error.back() == '\n') last_error.pop_back();
    std::replace(last_error.begin(), last_error.end(), '\n', ' ');
  } catch (...) {
    last_error.clear();
  }
  return failure.status;
}

}  // namespace tacoglow

namespace {

using tacoglow::require;
using tacoglow::set_defaults;
using tacoglow::to_status;
using tacoglow::with_defaults;

tacoglow::Compute read_compute(const char* name) {
  const std::string compute = name != nullptr ? name : "fp32";
  if (compute == "fp32") return tacoglow::Compute::fp32;
  if (compute == "int8") return tacoglow::Compute::int8;
  if (compute == "auto") return tacoglow::Compute::automatic;
  throw tacoglow::request_error("compute: expected auto, fp32 or int8, got '" + compute + "'");
}

std::unique_ptr<const tacoglow::BundleFiles> find_files(const char* bundle, const tacoglow_open_options& given) {
  if (given.loader != nullptr && given.files != nullptr)
    throw tacoglow::request_error("loader: expected either loader or files, got both");
  if (given.loader != nullptr)
    return std::make_unique<tacoglow::LoadedFiles>(bundle, with_defaults(given.loader, tacoglow_loader_init_sized));
  if (given.files != nullptr) return std::make_unique<tacoglow::MemoryFiles>(bundle, given.files, given.n_files);
  return std::make_unique<tacoglow::FolderFiles>(tacoglow::to_path(bundle));
}

// The caller's structure together with the memory that it points to.
struct OwnedText : tacoglow_text {
  explicit OwnedText(tacoglow::PreparedText text) : tacoglow_text{}, owned(std::move(text)) {
    for (const auto& piece : owned.pieces)
      listed.push_back({piece.text.c_str(), piece.ids.data(), piece.ids.size(), piece.pause, piece.rate, piece.volume});
    for (const auto& name : owned.dropped) names.push_back(name.c_str());
    for (const auto& remark : owned.remarks) lines.push_back(remark.c_str());
    pieces = listed.data();
    n_pieces = listed.size();
    dropped = names.data();
    n_dropped = names.size();
    pause_before_seconds = owned.pieces.front().pause_before;
    remarks = lines.data();
    n_remarks = lines.size();
  }

  tacoglow::PreparedText owned;
  std::vector<tacoglow_piece> listed;
  std::vector<const char*> names, lines;
};

}  // namespace

tacoglow::Request tacoglow::resolve(const Voice& voice, const tacoglow_request* request, bool is_stream) {
  require(request, "request");
  const tacoglow_request given = with_defaults(request, tacoglow_request_init_sized);
  Request resolved = resolve_request(voice, given);
  if (is_stream && given.retries > 0)
    throw request_error("retries: a stream cannot take back what has been heard; use tacoglow_speak, or 0");
  return resolved;
}

const char* tacoglow_last_error(void) { return tacoglow::last_error.c_str(); }

#define TACOGLOW_TEXT_OF(value) #value
#define TACOGLOW_VERSION_TEXT(major, minor, patch) \
  TACOGLOW_TEXT_OF(major) "." TACOGLOW_TEXT_OF(minor) "." TACOGLOW_TEXT_OF(patch)

const char* tacoglow_version(void) {
  return TACOGLOW_VERSION_TEXT(TACOGLOW_VERSION_MAJOR, TACOGLOW_VERSION_MINOR, TACOGLOW_VERSION_PATCH);
}

void tacoglow_open_options_init_sized(tacoglow_open_options* options, size_t size) { set_defaults(options, size, {}); }

void tacoglow_loader_init_sized(tacoglow_loader* loader, size_t size) { set_defaults(loader, size, {}); }

tacoglow_status tacoglow_voice_open(const char* bundle, const tacoglow_open_options* options, tacoglow_voice** voice) {
  if (voice != nullptr) *voice = nullptr;
  return to_status([&] {
    require(bundle, "bundle");
    require(voice, "voice");
    const auto given = with_defaults(options, tacoglow_open_options_init_sized);
    const auto files = find_files(bundle, given);
    const std::filesystem::path plans =
        given.plans != nullptr ? tacoglow::to_path(given.plans) : tacoglow::to_path(bundle) / "engines";
    auto opened = tacoglow::open_voice(*files, given.backend != nullptr ? given.backend : "",
                                       {given.threads, given.device, plans, read_compute(given.compute)});
    *voice = new tacoglow_voice{std::move(opened)};
  });
}

void tacoglow_voice_close(tacoglow_voice* voice) { delete voice; }

const tacoglow_facts* tacoglow_voice_facts(const tacoglow_voice* voice) {
  return voice == nullptr ? nullptr : &voice->voice->facts;
}

tacoglow_status tacoglow_text_to_ids(const tacoglow_voice* voice, const char* text, int32_t* ids, size_t capacity,
                                     size_t* n_ids) {
  return to_status([&] {
    require(voice, "voice");
    require(text, "text");
    require(n_ids, "n_ids");
    if (capacity > 0) require(ids, "ids");
    const auto encoded = voice->voice->front_end().encode(text);
    std::copy_n(encoded.begin(), std::min(capacity, encoded.size()), ids);
    *n_ids = encoded.size();
  });
}

tacoglow_status tacoglow_text_prepare(const tacoglow_voice* voice, const tacoglow_request* request,
                                      tacoglow_text** prepared) {
  if (prepared != nullptr) *prepared = nullptr;
  return to_status([&] {
    require(voice, "voice");
    require(request, "request");
    require(prepared, "prepared");
    const tacoglow_request given = with_defaults(request, tacoglow_request_init_sized);
    require(given.text, "request.text");
    const tacoglow::Voice& opened = *voice->voice;
    *prepared = new OwnedText(opened.front_end().prepare(given.text, tacoglow::text_options(opened, given)));
  });
}

void tacoglow_text_free(tacoglow_text* prepared) { delete static_cast<OwnedText*>(prepared); }

tacoglow_status tacoglow_session_open(tacoglow_voice* voice, tacoglow_session** session) {
  if (session != nullptr) *session = nullptr;
  return to_status([&] {
    require(voice, "voice");
    require(session, "session");
    *session = new tacoglow_session{tacoglow::Session(voice->voice)};
  });
}

void tacoglow_session_close(tacoglow_session* session) { delete session; }

void tacoglow_request_init_sized(tacoglow_request* request, size_t size) {
  tacoglow_request defaults{};
  defaults.sigma = -1.0;
  defaults.context_frames = TACOGLOW_BUNDLE_CONTEXT;
  defaults.rate = defaults.volume = 1.0;
  defaults.sentence_silence = -1.0;
  defaults.retries = -1;
  set_defaults(request, size, defaults);
}

tacoglow_status tacoglow_speak(tacoglow_session* session, const tacoglow_request* request, tacoglow_speech** speech) {
  if (speech != nullptr) *speech = nullptr;
  return to_status([&] {
    require(session, "session");
    require(speech, "speech");
    const tacoglow::Voice& voice = session->session.voice();
    auto speeches = session->session.speak({tacoglow::resolve(voice, request, false)});
    *speech = new tacoglow::OwnedSpeech(voice, std::move(speeches.front()));
  });
}

tacoglow_status tacoglow_speak_batch(tacoglow_session* session, const tacoglow_request* const* requests,
                                     size_t n_requests, tacoglow_speech** speeches) {
  if (speeches != nullptr) std::fill_n(speeches, n_requests, nullptr);
  return to_status([&] {
    require(session, "session");
    require(requests, "requests");
    require(speeches, "speeches");
    const tacoglow::Voice& voice = session->session.voice();
    std::vector<tacoglow::Request> batch;
    for (size_t i = 0; i < n_requests; ++i) {
      try {
        batch.push_back(tacoglow::resolve(voice, requests[i], false));
      } catch (const tacoglow::Error& error) {
        throw tacoglow::Error(error.status, "request " + std::to_string(i) + ": " + error.what());
      }
    }
    std::vector<std::unique_ptr<tacoglow::OwnedSpeech>> owned;
    for (auto& speech : session->session.speak(batch))
      owned.push_back(std::make_unique<tacoglow::OwnedSpeech>(voice, std::move(speech)));
    for (size_t i = 0; i < n_requests; ++i) speeches[i] = owned[i].release();
  });
}

void tacoglow_speech_free(tacoglow_speech* speech) { delete static_cast<tacoglow::OwnedSpeech*>(speech); }

tacoglow_status tacoglow_stream(tacoglow_session* session, const tacoglow_request* request,
                                tacoglow_segment_callback callback, void* user, tacoglow_speech** speech) {
  if (speech != nullptr) *speech = nullptr;
  return to_status([&] {
    require(session, "session");
    if (callback == nullptr) throw tacoglow::request_error("callback: is NULL");
    const auto given = tacoglow::resolve(session->session.voice(), request, true);
    const auto on_segment = [&](const std::vector<float>& samples) {
      if (callback(samples.data(), samples.size(), user) != 0)
        throw tacoglow::Error(TACOGLOW_CANCELLED, "the callback asked to stop");
    };
    auto spoken = session->session.stream(given, on_segment);
    if (speech != nullptr) *speech = new tacoglow::OwnedSpeech(session->session.voice(), std::move(spoken));
  });
}

tacoglow_status tacoglow_wav_write(const char* path, const float* samples, size_t n_samples, int32_t sampling_rate,
                                   tacoglow_wav_format format) {
  return to_status([&] {
    require(path, "path");
    if (n_samples > 0) require(samples, "samples");
    if (sampling_rate < 1)
      throw tacoglow::request_error("sampling_rate: expected 1 or more Hz, got " + std::to_string(sampling_rate));
    if (format != TACOGLOW_WAV_INT16 && format != TACOGLOW_WAV_FLOAT32)
      throw tacoglow::request_error("format: expected TACOGLOW_WAV_INT16 or TACOGLOW_WAV_FLOAT32, got " +
                                    std::to_string(static_cast<int>(format)));
    tacoglow::write_wav(tacoglow::to_path(path), samples, n_samples, sampling_rate, format);
  });
}
