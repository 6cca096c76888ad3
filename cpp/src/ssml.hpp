// The part of SSML 1.1 that this toolkit can speak, by the rules of Python's text/ssml.py, whose parser is Expat too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "english/say_as.hpp"
#include "pauses.hpp"

namespace tacoglow {

struct SpokenDocument {
  PausedText text;
  std::vector<std::string> remarks;  // for people, a line each: what is not spoken as it asks
};

// Reads a document. Throws Error (request) for one that is not XML, has a DTD, or asks for what cannot be; and if this
// library was built without Expat.
SpokenDocument parse_ssml(std::string_view document, const TextTables& tables);

}  // namespace tacoglow
