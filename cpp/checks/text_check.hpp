// Converts texts as the library does, and times it.
#pragma once

#include <string>
#include <vector>

#include "manifest.hpp"

namespace tacoglow::checks {

// Prints a line of JSON for each text of standard input, which NUL separates. options: NAME=VALUE with max_tokens, ssml
// (1), lexicon (a file) and sentence_silence.
void print_texts(const std::string& bundle, const Manifest& manifest, const std::vector<std::string>& options);

// Prints the processor's seconds for each text.
void print_text_times(const std::string& bundle, const Manifest& manifest, const std::vector<std::string>& options);

// Prints the ids and the words with their tokens.
void print_words(const std::string& bundle, const Manifest& manifest);

}  // namespace tacoglow::checks
