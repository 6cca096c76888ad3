// Opens bundles with the fake backend, in place of src/backends.cpp: "fake", "fake-text", whose voices accept text too,
// "fake-apart", whose rows share no steps, or "fake-gpu", which is read late, and has rows that share steps on a
// device, and no lanes.

#include "bundle_files.hpp"
#include "fake_backend.hpp"
#include "log.hpp"
#include "voice.hpp"

namespace tacoglow {

std::shared_ptr<const Voice> open_voice(const BundleFiles& files, const std::string& backend_name,
                                        const BackendOptions&) {
  Manifest manifest = load_manifest(files);
  const bool is_ahead = backend_name == "fake-apart" || backend_name == "fake-gpu";
  std::unique_ptr<const FrontEnd> front_end;
  if (backend_name != "fake-text")
    manifest.cleaners = {"none"};  // why it accepts no text
  else
    front_end = std::make_unique<const FrontEnd>(
        manifest, parse_text_tables(read_checked(files, manifest.text_tables), manifest.text_tables.file));
  log(TACOGLOW_LOG_WARNING, "the speech of a fake backend");
  return std::make_shared<const Voice>(
      manifest, open_fake_backend(manifest, is_ahead ? 4 : 1, backend_name == "fake-gpu" ? 2 : 1), backend_name,
      std::vector<bool>(manifest.symbols.size(), true), std::move(front_end));
}

}  // namespace tacoglow
