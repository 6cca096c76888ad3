// Synthesizes a text, token ids, or every line of a file, and writes wav files.
//
//   speak voice/ "Hello, world." -o hello.wav
//   speak voice/ -i phrases.txt -o phrases/
//   speak voice/ --text "<speak>Wait.<break time='1s'/> Go.</speak>" --ssml --lexicon names.txt -o wait.wav
//   speak voice/ --ids "45 42 49 49 52" -o hello.wav

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "tacoglow.h"

namespace {

constexpr const char* usage =
    "usage: speak BUNDLE (TEXT | --ids \"ID ID ...\") -o WAV | speak BUNDLE -i FILE -o FOLDER\n"
    "             [--seed N] [--backend NAME] [--plans FOLDER]\n"
    "             [--compute auto|fp32|int8] [--threads N] [--sigma X] [--denoise X] [--gate-threshold X]\n"
    "             [--max-frames N] [--retries N] [--attention-stop 1] [--attention-window N]\n"
    "             [--rate X] [--volume X] [--sentence-silence X] [--trim-silence] [--lexicon FILE] [--ssml]\n"
    "             [--wav int16|float32] [--mel FILE] [--timestamps FILE] [--stream FRAMES]\n"
    "-i names a file with a text per line; FOLDER gets 0001.wav, 0002.wav, ... --text TEXT is the same as TEXT.\n"
    "--lexicon names a file with lines such as: Nguyen = win. --ssml: the text is an SSML document.\n"
    "--mel writes float32 [mel bands, frames]. --timestamps writes a line for each word: its first and last second\n"
    "and the word, separated by tabs, which Audacity imports as labels. --stream synthesizes in segments of FRAMES (0: "
    "the bundle's).\n";

const std::set<std::string> options = {"--text",
                                       "--ids",
                                       "-i",
                                       "-o",
                                       "--seed",
                                       "--backend",
                                       "--plans",
                                       "--compute",
                                       "--threads",
                                       "--sigma",
                                       "--denoise",
                                       "--gate-threshold",
                                       "--max-frames",
                                       "--retries",
                                       "--attention-stop",
                                       "--attention-window",
                                       "--wav",
                                       "--mel",
                                       "--timestamps",
                                       "--stream",
                                       "--rate",
                                       "--volume",
                                       "--sentence-silence",
                                       "--lexicon"};
const std::set<std::string> flags = {"--ssml", "--trim-silence"};  // options without a value

struct CloseVoice {
  void operator()(tacoglow_voice* voice) const { tacoglow_voice_close(voice); }
};
struct CloseSession {
  void operator()(tacoglow_session* session) const { tacoglow_session_close(session); }
};
struct CloseScheduler {
  void operator()(tacoglow_scheduler* scheduler) const { tacoglow_scheduler_close(scheduler); }
};
struct CloseHandle {
  void operator()(tacoglow_handle* handle) const { tacoglow_handle_close(handle); }
};
struct FreeText {
  void operator()(tacoglow_text* text) const { tacoglow_text_free(text); }
};
struct FreeSpeech {
  void operator()(tacoglow_speech* speech) const { tacoglow_speech_free(speech); }
};

void check(tacoglow_status status) {
  if (status != TACOGLOW_OK) throw std::runtime_error(tacoglow_last_error());
}

class Arguments {
 public:
  Arguments(int count, char** values) {
    if (count < 2) throw std::invalid_argument(usage);
    const bool has_text = count > 2 && values[2][0] != '-';
    if (has_text) given_["--text"] = values[2];
    for (int i = has_text ? 3 : 2; i < count; ++i) {
      const std::string name = values[i];
      const bool is_flag = flags.count(name) != 0;
      if (!is_flag && options.count(name) == 0)
        throw std::invalid_argument(name + ": unknown option; speak --help shows them all");
      if (name == "--text" && has_text) throw std::invalid_argument("give either TEXT or --text, not both");
      if (!is_flag && i + 1 == count) throw std::invalid_argument(name + ": expected a value");
      given_[name] = is_flag ? "" : values[++i];
    }
    if (!has("-o")) throw std::invalid_argument(usage);
    check_combination();
  }

  bool has(const std::string& name) const { return given_.count(name) != 0; }
  const char* text(const std::string& name) const { return has(name) ? given_.at(name).c_str() : nullptr; }
  double number(const std::string& name, double otherwise) const {
    if (!has(name)) return otherwise;
    char* end = nullptr;
    const double value = std::strtod(text(name), &end);
    if (end == text(name) || *end != '\0')
      throw std::invalid_argument(name + ": expected a number, got '" + text(name) + "'");
    return value;
  }
  template <typename Integer>
  Integer integer(const std::string& name, Integer otherwise) const {
    return has(name) ? parse<Integer>(name, given_.at(name)) : otherwise;
  }
  std::vector<std::int32_t> ids() const {
    std::vector<std::int32_t> ids;
    std::istringstream words(has("--ids") ? given_.at("--ids") : "");
    for (std::string word; words >> word;) ids.push_back(parse<std::int32_t>("--ids", word));
    return ids;
  }

 private:
  void check_combination() const {
    const int n_inputs = (has("--text") ? 1 : 0) + (has("--ids") ? 1 : 0) + (has("-i") ? 1 : 0);
    if (n_inputs == 0) throw std::invalid_argument("give TEXT, --ids or -i FILE; speak --help shows how");
    if (n_inputs > 1) throw std::invalid_argument("give one of TEXT, --ids and -i FILE, not several");
    for (const char* name : {"--stream", "--mel", "--timestamps"}) refuse_with("-i", name, "is for a single text");
    for (const char* name : {"--ssml", "--lexicon", "--sentence-silence"})
      refuse_with("--ids", name, "has no effect on token ids");
  }

  void refuse_with(const std::string& other, const std::string& name, const std::string& reason) const {
    if (has(other) && has(name)) throw std::invalid_argument(name + ": " + reason + "; leave it out, or " + other);
  }

  template <typename Integer>
  static Integer parse(const std::string& name, const std::string& text) {
    using Limits = std::numeric_limits<Integer>;
    Integer value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, fault] = std::from_chars(text.data(), last, value);
    if (fault != std::errc() || end != last)
      throw std::invalid_argument(name + ": expected an integer from " + std::to_string(Limits::min()) + " to " +
                                  std::to_string(Limits::max()) + ", got '" + text + "'");
    return value;
  }

  std::map<std::string, std::string> given_;
};

const char* to_text(tacoglow_stop_reason reason) {
  if (reason == TACOGLOW_STOP_GATE) return "gate";
  return reason == TACOGLOW_STOP_FRAME_LIMIT ? "frame_limit" : "attention_end";
}

// Returns the text of a file, a device or a pipe, without the byte order mark that editors on Windows write.
std::string read_file(const char* name) {
  const std::filesystem::path path = std::filesystem::u8path(name);
  std::ifstream file(path, std::ios::binary);
  std::string content;
  for (std::array<char, 65536> block;
       file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0;)
    content.append(block.data(), static_cast<std::size_t>(file.gcount()));
  if (std::error_code unknown; !file.eof())
    throw std::runtime_error(std::string(name) + (std::filesystem::is_directory(path, unknown)
                                                      ? ": expected a file, got a folder"
                                                      : ": cannot be read"));
  if (content.find('\0') != std::string::npos)  // UTF-16, most often; a C string would end there
    throw std::runtime_error(std::string(name) + ": not UTF-8, it has NUL bytes; save the file as UTF-8");
  if (content.compare(0, 3, "\xEF\xBB\xBF") == 0) content.erase(0, 3);
  return content;
}

// Says on standard error what of a text is not spoken, or not as it asks.
void report(const tacoglow_voice* voice, const tacoglow_request& request) {
  tacoglow_text* prepared = nullptr;
  check(tacoglow_text_prepare(voice, &request, &prepared));
  const std::unique_ptr<tacoglow_text, FreeText> text(prepared);
  for (std::size_t i = 0; i < text->n_dropped; ++i)
    std::fprintf(stderr, "not spoken, this voice has no symbol for: %s\n", text->dropped[i]);
  for (std::size_t i = 0; i < text->n_remarks; ++i) std::fprintf(stderr, "%s\n", text->remarks[i]);
}

int collect(const float* samples, std::size_t n_samples, void* user) {
  auto& collected = *static_cast<std::vector<float>*>(user);
  collected.insert(collected.end(), samples, samples + n_samples);
  return 0;  // continue
}

// Closes a file; throws if anything of it was not written.
void finish(std::ofstream& file, const char* path) {
  file.close();
  if (!file) throw std::runtime_error(std::string(path) + ": cannot be written");
}

void write_mel(const char* path, const tacoglow_speech& speech, std::int32_t n_mel_channels) {
  std::ofstream file(std::filesystem::u8path(path), std::ios::binary);
  const std::size_t count = speech.n_frames * static_cast<std::size_t>(n_mel_channels);
  file.write(reinterpret_cast<const char*>(speech.mel), static_cast<std::streamsize>(count * sizeof(float)));
  finish(file, path);
}

void write_times(const char* path, const tacoglow_speech& speech) {
  std::ofstream file(std::filesystem::u8path(path), std::ios::binary);
  file << std::fixed << std::setprecision(6);
  for (std::size_t i = 0; i < speech.n_utterances; ++i) {
    const tacoglow_utterance& utterance = speech.utterances[i];
    for (std::size_t k = 0; k < utterance.n_words; ++k) {
      const tacoglow_timed_text& word = utterance.words[k];
      file << word.start_seconds << '\t' << word.end_seconds << '\t' << word.text << '\n';
    }
  }
  finish(file, path);
}

void write_listings(const Arguments& arguments, const tacoglow_speech& speech, std::int32_t n_mel_channels) {
  if (arguments.has("--mel")) write_mel(arguments.text("--mel"), speech, n_mel_channels);
  if (arguments.has("--timestamps")) write_times(arguments.text("--timestamps"), speech);
}

tacoglow_request read_request(const Arguments& arguments, const std::vector<std::int32_t>& ids,
                              const std::string& lexicon) {
  tacoglow_request request;
  tacoglow_request_init(&request);
  request.text = arguments.text("--text");
  request.lexicon = lexicon.c_str();
  request.ssml = arguments.has("--ssml") ? 1 : 0;
  request.ids = arguments.has("--ids") ? ids.data() : nullptr;
  request.n_ids = ids.size();
  request.seed = arguments.integer("--seed", request.seed);
  request.sigma = arguments.number("--sigma", request.sigma);
  request.denoise = arguments.number("--denoise", request.denoise);
  request.gate_threshold = arguments.number("--gate-threshold", request.gate_threshold);
  request.max_frames = arguments.integer<std::int32_t>("--max-frames", 0);
  request.retries = arguments.integer("--retries", request.retries);
  request.attention_stop = arguments.integer<std::int32_t>("--attention-stop", 0);
  request.attention_window = arguments.integer<std::int32_t>("--attention-window", 0);
  request.rate = arguments.number("--rate", request.rate);
  request.volume = arguments.number("--volume", request.volume);
  request.trim_silence = arguments.has("--trim-silence") ? 1 : 0;
  request.sentence_silence = arguments.number("--sentence-silence", request.sentence_silence);
  request.first_segment_frames = request.segment_frames = arguments.integer<std::int32_t>("--stream", 0);
  request.context_frames = -1;  // the receptive field: a stream then equals unstreamed speech
  return request;
}

tacoglow_wav_format read_format(const Arguments& arguments) {
  const std::string name = arguments.has("--wav") ? arguments.text("--wav") : "int16";
  if (name != "int16" && name != "float32")
    throw std::invalid_argument("--wav: expected int16 or float32, got '" + name + "'");
  return name == "int16" ? TACOGLOW_WAV_INT16 : TACOGLOW_WAV_FLOAT32;
}

// Says in one line per utterance that was not spoken well what is wrong with it, and what may help.
void warn_of_faults(const tacoglow_speech& speech) {
  for (std::size_t i = 0; i < speech.n_utterances; ++i) {
    const tacoglow_utterance& utterance = speech.utterances[i];
    if (utterance.n_faults == 0) continue;
    std::string reason, way_out = "another --seed, more --retries, or shorter sentences";
    if (utterance.n_frames == 0) {
      reason = "; the gate fired at the first frame";
      way_out = "another --seed or a higher --gate-threshold";
    } else if (utterance.stop_reason == TACOGLOW_STOP_FRAME_LIMIT) {
      reason = "; the gate has not fired within " + std::to_string(utterance.n_frames) + " frames";
      way_out = "another --seed, --retries, or a lower --gate-threshold";
    }
    std::fprintf(stderr, "warning: %s%s: '%s'; try %s\n", utterance.quality, reason.c_str(), utterance.text,
                 way_out.c_str());
  }
}

// A line of a file that a scheduler speaks.
struct SpokenLine {
  std::string text, path;
  std::unique_ptr<tacoglow_handle, CloseHandle> handle;
};

// Writes a line's wav file; returns false, and says why, if it cannot be spoken.
bool write_line(const SpokenLine& line, std::int32_t sampling_rate, tacoglow_wav_format format) {
  tacoglow_speech* result = nullptr;
  if (tacoglow_handle_result(line.handle.get(), &result) != TACOGLOW_OK) {
    std::fprintf(stderr, "error: %s: %s\n", line.text.c_str(), tacoglow_last_error());
    return false;
  }
  const std::unique_ptr<tacoglow_speech, FreeSpeech> speech(result);
  check(tacoglow_wav_write(line.path.c_str(), speech->samples, speech->n_samples, sampling_rate, format));
  warn_of_faults(*speech);
  return true;
}

// Speaks the lines of a file that are not blank, several at once; returns false if one could not be spoken.
bool speak_lines(tacoglow_voice* voice, const Arguments& arguments, tacoglow_request request) {
  constexpr std::size_t at_once = 32;
  const std::int32_t rate = tacoglow_voice_facts(voice)->sampling_rate;
  const tacoglow_wav_format format = read_format(arguments);
  const std::filesystem::path folder = std::filesystem::u8path(arguments.text("-o"));
  std::filesystem::create_directories(folder);
  tacoglow_scheduler* opened = nullptr;
  check(tacoglow_scheduler_open(voice, nullptr, &opened));
  const std::unique_ptr<tacoglow_scheduler, CloseScheduler> scheduler(opened);
  std::deque<SpokenLine> lines;
  std::istringstream texts(read_file(arguments.text("-i")));
  bool is_complete = true;
  const auto write_first = [&] {
    is_complete = write_line(lines.front(), rate, format) && is_complete;
    lines.pop_front();
  };
  int position = 0;
  for (std::string text; std::getline(texts, text);) {
    text.erase(text.find_last_not_of('\r') + 1);  // of Windows' line ends; a terminal would overwrite an error with it
    if (text.find_first_not_of(" \t") == std::string::npos) continue;
    char name[16];
    std::snprintf(name, sizeof name, "%04d.wav", ++position);
    request.text = text.c_str();
    tacoglow_handle* handle = nullptr;
    if (tacoglow_submit(scheduler.get(), &request, nullptr, &handle) != TACOGLOW_OK) {
      std::fprintf(stderr, "error: %s: %s\n", text.c_str(), tacoglow_last_error());
      is_complete = false;
      continue;
    }
    report(voice, request);
    lines.push_back({text, (folder / name).u8string(), std::unique_ptr<tacoglow_handle, CloseHandle>(handle)});
    if (lines.size() == at_once) write_first();
  }
  while (!lines.empty()) write_first();
  if (position == 0) throw std::runtime_error(std::string(arguments.text("-i")) + ": has no text in any line");
  return is_complete;
}

// Returns false if a line could not be spoken.
bool speak(const char* bundle, const Arguments& arguments) {
  tacoglow_open_options options;
  tacoglow_open_options_init(&options);
  options.backend = arguments.text("--backend");
  options.plans = arguments.text("--plans");
  options.compute = arguments.text("--compute");
  options.threads = arguments.integer<std::int32_t>("--threads", 0);
  tacoglow_voice* opened = nullptr;
  check(tacoglow_voice_open(bundle, &options, &opened));
  const std::unique_ptr<tacoglow_voice, CloseVoice> voice(opened);
  const tacoglow_facts& facts = *tacoglow_voice_facts(opened);
  if (*facts.decoder != '\0') std::fprintf(stderr, "decoder: %s\n", facts.decoder);
  const auto ids = arguments.ids();
  const std::string lexicon = arguments.has("--lexicon") ? read_file(arguments.text("--lexicon")) : "";
  const tacoglow_request request = read_request(arguments, ids, lexicon);
  if (arguments.has("-i")) return speak_lines(opened, arguments, request);
  if (request.text != nullptr) report(opened, request);
  tacoglow_session* opened_session = nullptr;
  check(tacoglow_session_open(opened, &opened_session));
  const std::unique_ptr<tacoglow_session, CloseSession> session(opened_session);
  const tacoglow_wav_format format = read_format(arguments);
  tacoglow_speech* result = nullptr;
  if (arguments.has("--stream")) {
    std::vector<float> samples;
    check(tacoglow_stream(session.get(), &request, collect, &samples, &result));
    const std::unique_ptr<tacoglow_speech, FreeSpeech> speech(result);
    check(tacoglow_wav_write(arguments.text("-o"), samples.data(), samples.size(), facts.sampling_rate, format));
    warn_of_faults(*speech);
    write_listings(arguments, *speech, facts.n_mel_channels);
    return true;
  }
  check(tacoglow_speak(session.get(), &request, &result));
  const std::unique_ptr<tacoglow_speech, FreeSpeech> speech(result);
  check(tacoglow_wav_write(arguments.text("-o"), speech->samples, speech->n_samples, facts.sampling_rate, format));
  warn_of_faults(*speech);
  write_listings(arguments, *speech, facts.n_mel_channels);
  std::printf("%zu frames, %s, encoder %.3f s, decoder %.3f s, postnet %.3f s, vocoder %.3f s\n", speech->n_frames,
              to_text(speech->stop_reason), speech->encoder_seconds, speech->decoder_seconds, speech->postnet_seconds,
              speech->vocoder_seconds);
  return true;
}

int run(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--help") {
    std::fputs(usage, stdout);
    return EXIT_SUCCESS;
  }
  try {
    const Arguments arguments(argc, argv);
    return speak(argv[1], arguments) ? EXIT_SUCCESS : 2;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s\n", error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  return 2;
}

}  // namespace

#if defined(_WIN32)
int wmain(int argc, wchar_t** argv) {  // the system's own UTF-16, which every path and text has
  std::vector<std::string> texts;
  try {
    for (int i = 0; i < argc; ++i) texts.push_back(std::filesystem::path(argv[i]).u8string());
  } catch (const std::exception&) {  // an unpaired surrogate; the standard does not say which is thrown
    std::fprintf(stderr, "error: argument %zu: expected Unicode text\n", texts.size());
    return 2;
  }
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  return run(argc, pointers.data());
}
#else
int main(int argc, char** argv) { return run(argc, argv); }
#endif
