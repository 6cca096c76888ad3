// The backends that are built into this library, and the choice between them.

#include <utility>

#include "bundle_files.hpp"
#include "error.hpp"
#include "voice.hpp"

namespace tacoglow {
namespace {

using Open = std::unique_ptr<Backend> (*)(const BundleFiles&, const Manifest&, const BackendOptions&);

const std::vector<std::pair<std::string, Open>>& backends() {
  static const std::vector<std::pair<std::string, Open>> built_in = {
#ifdef TACOGLOW_WITH_TENSORRT
      {"tensorrt", open_tensorrt},
#endif
#ifdef TACOGLOW_WITH_ONNXRUNTIME
      {"onnxruntime", open_onnxruntime},
      {"onnxruntime-cuda", open_onnxruntime_cuda},
#endif
#ifdef TACOGLOW_WITH_TORCH
      {"torchscript", open_torchscript},
#endif
  };
  return built_in;
}

void check_int8(const BundleFiles& files, const Manifest& manifest, const std::string& backend_name) {
  if (backend_name != "onnxruntime")
    throw backend_error("compute 'int8': needs backend onnxruntime, got " + backend_name);
  if (!manifest.int8_decoder)
    throw backend_error("compute 'int8': " + files.name() + " has no 8-bit decoder; add one with: tacoglow quantize " +
                        files.name());
}

}  // namespace

std::shared_ptr<const Voice> open_voice(const BundleFiles& files, const std::string& backend_name,
                                        const BackendOptions& options) {
  std::string listing;
  for (const auto& [name, open] : backends()) {
    if (backend_name.empty() || backend_name == name) {
      Manifest manifest = load_manifest(files);
      if (options.compute == Compute::int8) check_int8(files, manifest, name);
      auto backend = open(files, manifest, options);
      auto tables =
          parse_text_tables(read_checked(files, manifest.text_tables), files.name_of(manifest.text_tables.file));
      std::vector<bool> letters = find_letters(manifest.symbols, *tables);
      std::unique_ptr<const FrontEnd> front_end;
      if (text_unsupported_reason(manifest).empty())
        front_end = std::make_unique<const FrontEnd>(manifest, std::move(tables));
      return std::make_shared<const Voice>(std::move(manifest), std::move(backend), name, std::move(letters),
                                           std::move(front_end));
    }
    listing += (listing.empty() ? "" : ", ") + name;
  }
  throw backend_error("backend '" + backend_name +
                      "': not built in; this library has: " + (listing.empty() ? "none" : listing) +
                      "; see TACOGLOW_ONNXRUNTIME, TACOGLOW_TORCH and TACOGLOW_TENSORRT in docs/cpp.md");
}

}  // namespace tacoglow
