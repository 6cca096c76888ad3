#include "ssml.hpp"

#include "error.hpp"

#ifdef TACOGLOW_WITH_EXPAT

#include <expat.h>

#include <exception>
#include <memory>

#include "ssml_reader.hpp"

namespace tacoglow {
namespace {

struct FreeParser {
  void operator()(XML_Parser parser) const { XML_ParserFree(parser); }
};

// Passes Expat's events to a reader; what the reader throws ends the parsing.
class Events {
 public:
  Events(XML_Parser parser, SsmlReader& reader) : parser_(parser), reader_(reader) {
    XML_SetUserData(parser, this);
    XML_SetElementHandler(parser, start, end);
    XML_SetCharacterDataHandler(parser, characters);
    XML_SetDoctypeDeclHandler(parser, refuse_doctype, nullptr);
  }

  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  template <typename Work>
  static void pass(void* self, const Work& work) {
    Events& events = *static_cast<Events*>(self);
    if (events.failure_) return;
    try {
      work(events);
    } catch (...) {
      events.failure_ = std::current_exception();
      XML_StopParser(events.parser_, XML_FALSE);
    }
  }

  static void start(void* self, const char* name, const char** attributes) {
    pass(self, [&](Events& events) {
      events.flush();
      SsmlReader::Attributes given;
      for (; *attributes != nullptr; attributes += 2) given.emplace(attributes[0], from_utf8(attributes[1]));
      events.reader_.start(name, given);
    });
  }

  static void end(void* self, const char* name) {
    pass(self, [&](Events& events) {
      events.flush();
      events.reader_.end(name);
    });
  }

  static void characters(void* self, const char* text, int length) {
    pass(self, [&](Events& events) { events.text_.append(text, static_cast<std::size_t>(length)); });
  }

  static void refuse_doctype(void* self, const char*, const char*, const char*, int) {
    pass(self,
         [](Events&) { throw request_error("ssml: a DTD is not accepted; leave <!DOCTYPE …> and entities out"); });
  }

  void flush() {
    if (!text_.empty()) reader_.characters(from_utf8(text_));
    text_.clear();
  }

  XML_Parser parser_;
  SsmlReader& reader_;
  std::string text_;  // since the last element began or ended
  std::exception_ptr failure_;
};

}  // namespace

SpokenDocument parse_ssml(std::string_view document, const TextTables& tables) {
  const std::size_t length = from_utf8(document).size(), longest = tables.ssml.characters_max;
  if (length > longest)
    throw request_error("ssml: expected at most " + std::to_string(longest) + " characters, got " +
                        std::to_string(length) + "; split the document");
  const std::unique_ptr<XML_ParserStruct, FreeParser> parser(XML_ParserCreate("utf-8"));
  if (!parser) throw std::bad_alloc();
  SsmlReader reader(tables);
  Events events(parser.get(), reader);
  const auto status = XML_Parse(parser.get(), document.data(), static_cast<int>(document.size()), 1);
  events.rethrow();
  if (status != XML_STATUS_OK)
    throw request_error("ssml: line " + std::to_string(XML_GetCurrentLineNumber(parser.get())) + ", column " +
                        std::to_string(XML_GetCurrentColumnNumber(parser.get()) + 1) + ": " +
                        XML_ErrorString(XML_GetErrorCode(parser.get())) + "; write & as &amp; and < as &lt;");
  return reader.finish();
}

}  // namespace tacoglow

#else

namespace tacoglow {

SpokenDocument parse_ssml(std::string_view, const TextTables&) {
  throw request_error(
      "ssml: this library was built without Expat; build it with -DTACOGLOW_SSML=ON, or give plain text");
}

}  // namespace tacoglow

#endif
