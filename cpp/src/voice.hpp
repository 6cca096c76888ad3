// An open bundle.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.hpp"
#include "tacoglow.h"
#include "text.hpp"

namespace tacoglow {

// A voice: manifest, text front end and loaded graphs. Thread-safe.
struct Voice {
  // found: find_letters of its symbols. prepared: the text front end; nullptr if the voice accepts only token ids.
  Voice(Manifest read, std::unique_ptr<Backend> opened, std::string chosen_name, std::vector<bool> found,
        std::unique_ptr<const FrontEnd> prepared = nullptr);

  // Throws Error (request) if the voice accepts only token ids.
  const FrontEnd& front_end() const;

  // Returns a token as people read it: a character, or a phone without its mark.
  std::string name_of(std::int32_t id) const;

  Manifest manifest;
  std::unique_ptr<Backend> backend;
  std::string backend_name, decoder;
  std::vector<bool> letters;  // by token id: true for letters, digits and phones
  tacoglow_facts facts;       // points into the manifest and the names above

 private:
  SymbolTable symbols_;
  std::unique_ptr<const FrontEnd> front_end_;  // nullptr: the voice accepts only token ids
};

// Opens a bundle with the named backend; "": the first that is built in. Throws Error (bundle, backend).
std::shared_ptr<const Voice> open_voice(const BundleFiles& files, const std::string& backend_name,
                                        const BackendOptions& options);

}  // namespace tacoglow
