// Opens bundles with the fake backend, in place of src/backends.cpp: "fake", or "fake-gpu", which is read late. Its
// voices accept only token ids.

#include "bundle_files.hpp"
#include "fake_backend.hpp"
#include "voice.hpp"

namespace tacoglow {

std::shared_ptr<const Voice> open_voice(const BundleFiles& files, const std::string& backend_name,
                                        const BackendOptions&) {
  const Manifest manifest = load_manifest(files);
  const bool is_gpu = backend_name == "fake-gpu";
  return std::make_shared<const Voice>(manifest, open_fake_backend(manifest, is_gpu ? 4 : 1, is_gpu ? 2 : 1),
                                       backend_name, std::vector<bool>(manifest.symbols.size(), true));
}

}  // namespace tacoglow
