#include "kernel_package.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "files.hpp"
#include "json_node.hpp"
#include "sha256.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t format_version = 4;               // of the files, and of the kernels' arguments
constexpr std::int64_t largest = std::int64_t{1} << 31;  // of any size in a package
constexpr const char* remedy = "run tacoglow build-engines --copy-to again";

std::string read(const std::filesystem::path& path) {
  std::optional<std::string> content = read_file(path);
  if (!content) throw backend_error(to_name(path) + ": cannot be read; " + remedy);
  return *std::move(content);
}

// The content of a file that the package names. file: {"file", "sha256"}
std::string read_checked(const std::filesystem::path& folder, const JsonNode& file) {
  const std::string name = file["file"].text();
  if (!is_plain_file_name(name)) file["file"].fail("expected a plain file name");
  std::string content = read(folder / name);
  if (sha256(content) != file["sha256"].text())
    throw backend_error(to_name(folder / name) + ": damaged, not the content that kernels.json names; " + remedy);
  return content;
}

// A kernel is loaded only where it was found right.
void check_gpu(const std::filesystem::path& folder, const JsonNode& root, const Gpu& gpu) {
  const auto describe = [](const std::string& model, std::int64_t major, std::int64_t minor, std::int64_t driver) {
    return model + ", compute capability " + std::to_string(major) + "." + std::to_string(minor) + ", driver " +
           std::to_string(driver);
  };
  int driver = 0;
  std::array<char, 256> name{};
  check_cuda(cuda_driver().cuDriverGetVersion(&driver), "ask for the driver's version");
  check_cuda(cuda_driver().cuDeviceGetName(name.data(), static_cast<int>(name.size()), gpu.device()),
             "ask for the GPU's name");
  const std::vector<std::int64_t> capability = root["compute_capability"].integers(0, largest);
  if (capability.size() != 2) root["compute_capability"].fail("expected two numbers");
  const auto wanted = describe(root["gpu"].text(), capability[0], capability[1], root["driver"].integer(0, largest));
  const auto found = describe(name.data(), gpu.attribute(CudaDriver::capability_major),
                              gpu.attribute(CudaDriver::capability_minor), driver);
  if (found != wanted)
    throw backend_error(to_name(folder) + ": compiled for " + wanted + ", this is " + found +
                        "; run tacoglow build-engines --copy-to here");
}

FusedKernel read_kernel(const std::filesystem::path& folder, const JsonNode& node) {
  const auto size = [&](const char* name) { return node[name].integer(1, largest); };
  return {size("batch"),
          size("tokens"),
          size("blocks"),
          size("threads"),
          size("shared_bytes"),
          size("workspace_bytes"),
          read_checked(folder, node)};
}

FusedPackage read_fused(const std::filesystem::path& folder, const JsonNode& node, const Manifest& manifest) {
  if (node["graph_sha256"].text() != manifest.graphs.at("decoder_step").sha256)
    node["graph_sha256"].fail("made for another voice's decoder_step");
  FusedPackage package{node["decoder"].text(), read_checked(folder, node["weights"]), {}};
  for (const auto& kernel : node["kernels"].items()) package.kernels.push_back(read_kernel(folder, kernel));
  std::sort(package.kernels.begin(), package.kernels.end(), [](const FusedKernel& a, const FusedKernel& b) {
    return std::tie(a.batch, a.tokens) < std::tie(b.batch, b.tokens);
  });
  const std::int64_t tokens = manifest.dimensions.at('T').max;
  const auto serves_all = [&](const FusedKernel& kernel) { return kernel.tokens >= tokens; };
  if (std::none_of(package.kernels.begin(), package.kernels.end(), serves_all))
    node["kernels"].fail("has no kernel for " + std::to_string(tokens) + " tokens");
  return package;
}

}  // namespace

KernelPackage load_kernel_package(const std::filesystem::path& folder, const Manifest& manifest, const Gpu& gpu) {
  const std::filesystem::path path = folder / "kernels.json";
  const std::string source = to_name(path);
  const nlohmann::json json = parse_json(read(path), source, remedy);
  const JsonNode root(json, source + ": $", remedy);
  root["format_version"].integer(format_version, format_version);
  check_gpu(folder, root, gpu);
  KernelPackage package;
  if (root.has("noise")) package.noise = read_checked(folder, root["noise"]);
  if (root.has("fused")) package.fused = read_fused(folder, root["fused"], manifest);
  return package;
}

}  // namespace tacoglow
