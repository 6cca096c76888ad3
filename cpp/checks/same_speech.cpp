#include "same_speech.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace tacoglow::checks {
namespace {

// Without the last `unequal` of them.
float largest_difference(const std::vector<float>& a, const std::vector<float>& b, std::size_t unequal) {
  require(a.size() == b.size(), "lengths differ: " + std::to_string(a.size()) + " and " + std::to_string(b.size()));
  float largest = 0;
  for (std::size_t i = 0; i + unequal < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

}  // namespace

void require(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

std::shared_ptr<const Voice> fake_voice(const Manifest& manifest, std::int64_t chunk_steps,
                                        std::int64_t launches_in_flight, std::vector<std::int64_t> vocoder_sizes,
                                        Observer observe) {
  auto backend =
      open_fake_backend(manifest, chunk_steps, launches_in_flight, std::move(vocoder_sizes), std::move(observe));
  return std::make_shared<const Voice>(manifest, std::move(backend), "fake", all_letters(manifest));
}

std::vector<bool> all_letters(const Manifest& manifest) { return std::vector<bool>(manifest.symbols.size(), true); }

tacoglow_request default_request(const std::vector<std::int32_t>& ids) {
  tacoglow_request given{};
  given.ids = ids.data();
  given.n_ids = ids.size();
  given.sigma = given.sentence_silence = -1.0;
  given.context_frames = TACOGLOW_BUNDLE_CONTEXT;
  given.rate = given.volume = 1.0;
  return given;
}

Request request_for(const Voice& voice, std::uint64_t seed, const std::vector<std::int32_t>& ids) {
  tacoglow_request given = default_request(ids);
  given.seed = seed;
  given.max_frames = seed % 2 == 0 ? 0 : 9;
  given.first_segment_frames = 3;
  given.segment_frames = 5;
  given.context_frames = -1;
  return resolve_request(voice, given);
}

std::vector<float> check_stream(Session& session, const Request& request, const Speech& unstreamed,
                                std::size_t unequal) {
  std::vector<float> streamed;
  const Speech speech = session.stream(request, [&](const std::vector<float>& samples) {
    streamed.insert(streamed.end(), samples.begin(), samples.end());
  });
  require(speech.stop_reason == unstreamed.stop_reason, "a stream has a different stop reason");
  require(speech.mel == unstreamed.mel, "a stream has a different mel");
  const Utterance &own = speech.utterances.front(), &other = unstreamed.utterances.front();
  require(own.alignment == other.alignment && own.gate == other.gate, "a stream has a different alignment or gate");
  require(own.n_samples == other.n_samples && own.faults.size() == other.faults.size(), "a stream has other faults");
  require(largest_difference(streamed, unstreamed.samples, unequal) < 1e-6F, "a stream differs from unstreamed speech");
  return streamed;
}

void check_denoised_stream(const Manifest& manifest) {
  Session session(fake_voice(manifest, 1, 1));
  Request request = request_for(session.voice(), 0, {3, 1, 4, 1, 5});
  request.vocoding.denoise = 0.1;
  check_stream(session, request, session.speak({request}).front());
}

void require_same(const Speech& got, const Speech& expected, const std::string& what, float tolerance) {
  require(largest_difference(got.samples, expected.samples, 0) <= tolerance, what + " changes the samples");
  require(got.mel == expected.mel, what + " changes the mel");
  require(got.stop_reason == expected.stop_reason, what + " changes the stop reason");
}

}  // namespace tacoglow::checks
