#include "synthesizer.hpp"

#include <utility>

#include "encoder.hpp"
#include "error.hpp"
#include "utterance_windows.hpp"

namespace tacoglow {
namespace {

// Runs `work`; an error of a request in a batch begins with the request's index.
template <typename Work>
void name_request(std::size_t index, std::size_t n_requests, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (n_requests == 1 || error.status == TACOGLOW_CANCELLED) throw;
    throw Error(error.status, "request " + std::to_string(index) + ": " + error.what());
  }
}

}  // namespace

Session::Session(std::shared_ptr<const Voice> voice)
    : voice_(std::move(voice)), backend_(voice_->backend->create_instance()) {
  backend_->prepare();
}

std::vector<Speech> Session::speak(const std::vector<Request>& requests) {
  std::vector<Speech> speeches(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) speeches[i].utterances.resize(requests[i].pieces.size());
  for (Jobs& batch : group_into_batches(requests)) {
    Seconds shared;
    Stopwatch watch;
    for (Job& job : batch)
      name_request(job.request_index, requests.size(),
                   [&] { job.encoded = encode(*backend_, voice_->manifest, job.piece().ids); });
    shared.encoder = watch.lap();
    decode_all(batch);
    shared.decoder = watch.lap();
    std::size_t counted = requests.size();  // the request whose share of this batch's time was counted last
    for (const Job& job : batch) {
      Speech& speech = speeches[job.request_index];
      const DecodedItem& item = job.attempts.best();
      const auto report = [&](std::int64_t done) { job.report(item.decoded.frames_decoded, done); };
      name_request(job.request_index, requests.size(), [&] {
        speech.utterances[job.piece_index] =
            finish(*backend_, *voice_, job.request, job.piece_index, item, report, speech.seconds);
      });
      if (std::exchange(counted, job.request_index) != job.request_index) speech.seconds += shared;
    }
  }
  for (std::size_t i = 0; i < requests.size(); ++i) join(*voice_, requests[i], speeches[i]);
  return speeches;
}

Speech Session::stream(const Request& request, const OnSegment& on_segment) {
  Speech speech;
  StreamSamples samples(*voice_, request);
  for (std::size_t i = 0; i < request.pieces.size(); ++i) {
    speech.utterances.push_back(stream_piece(request, i, samples, on_segment));
    samples.locate(speech.utterances.back());
  }
  sum_up(*voice_, speech);
  return speech;
}

Utterance Session::stream_piece(const Request& request, std::size_t index, StreamSamples& samples,
                                const OnSegment& on_segment) {
  const Manifest& manifest = voice_->manifest;
  const std::vector<std::int32_t>& ids = request.pieces[index].ids;
  const auto length = static_cast<std::int64_t>(ids.size());
  DecodedItem item = {length, request.noise(index), request.decoding.of(length, manifest.frames_per_step), {}};
  Decoding decoding(*backend_, manifest, encode(*backend_, manifest, ids), {&item});
  UtteranceWindows windows(*backend_, manifest, request, index, item, UtteranceWindows::Cut::segments);
  for (bool is_last = false; !is_last;) {
    while (decoding.running() && item.decoded.frames_decoded < windows.frames_wanted()) decoding.read_chunk();
    const Window window = windows.next();
    is_last = window.is_last;
    samples.add(index, window.is_first(), is_last, window.samples(*backend_, manifest), on_segment);
  }
  return describe(*voice_, request.pieces[index], item, windows.mel());
}

}  // namespace tacoglow
