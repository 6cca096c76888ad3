// Fuzzes the manifest parser, which must return a manifest or throw Error for every input.
//
//   fuzz_manifest SECONDS SEED MANIFEST...     mutates the given manifests and prints the number of inputs tried
//
// With clang, -DTACOGLOW_LIBFUZZER and -fsanitize=fuzzer, this file is a libFuzzer target instead.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "error.hpp"
#include "manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    tacoglow::parse_manifest({reinterpret_cast<const char*>(data), size}, "input");
  } catch (const tacoglow::Error&) {  // expected for a damaged manifest
  }
  return 0;
}

#ifndef TACOGLOW_LIBFUZZER

namespace {

using Random = std::mt19937_64;

// JSON values of other types, numbers at limits, and broken values.
constexpr const char* tokens[] = {"0",
                                  "-1",
                                  "1e999",
                                  "9223372036854775807",
                                  "18446744073709551616",
                                  "null",
                                  "{}",
                                  "[]",
                                  "true",
                                  "\"\"",
                                  "\"../x\"",
                                  "\"F*0\"",
                                  "0.5",
                                  "[[",
                                  "\"T*99999999999999999999\"",
                                  "\"\\ud800\"",
                                  "\xff"};

std::size_t pick(Random& random, std::size_t size) { return size == 0 ? 0 : random() % size; }

// Returns the end of the JSON scalar, or of the single character, that begins at `start`.
std::size_t value_end(const std::string& text, std::size_t start) {
  const std::size_t end = text.find_first_of(",]}\n", start + 1);
  return end == std::string::npos ? text.size() : end;
}

void mutate(std::string& text, const std::string& other, Random& random) {
  const std::size_t at = pick(random, text.size());
  switch (random() % 6) {
    case 0:  // change a byte
      if (!text.empty()) text[at] = static_cast<char>(random());
      break;
    case 1:  // truncate
      text.resize(at);
      break;
    case 2:  // delete up to 63 bytes
      text.erase(at, pick(random, 64));
      break;
    case 3:  // insert a part of a manifest
      text.insert(at, other.substr(pick(random, other.size()), pick(random, 256)));
      break;
    default: {  // replace the value after a colon
      const std::size_t colon = text.find(": ", at);
      if (colon != std::string::npos)
        text.replace(colon + 2, value_end(text, colon + 2) - colon - 2, tokens[pick(random, std::size(tokens))]);
    }
  }
}

std::string read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: fuzz_manifest SECONDS SEED MANIFEST...\n");
    return 2;
  }
  std::vector<std::string> seeds;
  for (int i = 3; i < argc; ++i) seeds.push_back(read(argv[i]));
  Random random(std::strtoull(argv[2], nullptr, 10));
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[1]));
  std::size_t tried = 0;
  for (; std::chrono::steady_clock::now() < end; ++tried) {
    std::string text = seeds[pick(random, seeds.size())];
    for (std::size_t i = random() % 4; i < 4; ++i) mutate(text, seeds[pick(random, seeds.size())], random);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  }
  std::printf("%zu inputs\n", tried);
  return EXIT_SUCCESS;
}

#endif
