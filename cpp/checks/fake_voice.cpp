// Opens bundles with the fake backend, in place of src/backends.cpp: "fake", "fake-apart", whose rows share no steps,
// or "fake-gpu", which has no lanes either, and is read late. Its voices accept only token ids.

#include "bundle_files.hpp"
#include "fake_backend.hpp"
#include "voice.hpp"

namespace tacoglow {

std::shared_ptr<const Voice> open_voice(const BundleFiles& files, const std::string& backend_name,
                                        const BackendOptions&) {
  const Manifest manifest = load_manifest(files);
  const std::int64_t chunk_steps = backend_name == "fake" ? 1 : 4, in_flight = backend_name == "fake-gpu" ? 2 : 1;
  return std::make_shared<const Voice>(manifest, open_fake_backend(manifest, chunk_steps, in_flight), backend_name,
                                       std::vector<bool>(manifest.symbols.size(), true));
}

}  // namespace tacoglow
