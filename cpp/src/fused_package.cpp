#include "fused_package.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <tuple>

#include "json_node.hpp"
#include "sha256.hpp"

namespace tacoglow {
namespace {

constexpr std::int64_t format_version = 2;               // of the files, and of the kernel's arguments
constexpr std::int64_t largest = std::int64_t{1} << 31;  // of any size in a package
constexpr const char* remedy = "run tacoglow build-engines --copy-to again";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw backend_error(path.string() + ": cannot be read; " + remedy);
  return content;
}

// The content of a file that the package names. file: {"file", "sha256"}
std::string read_checked(const std::filesystem::path& folder, const JsonNode& file) {
  const std::string name = file["file"].text();
  if (!is_plain_file_name(name)) file["file"].fail("expected a plain file name");
  std::string content = read_file(folder / name);
  if (sha256(content) != file["sha256"].text())
    throw backend_error((folder / name).string() + ": damaged, not the content that decoder.json names; " + remedy);
  return content;
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

}  // namespace

FusedPackage load_fused_package(const std::filesystem::path& folder, const Manifest& manifest) {
  const std::string source = (folder / "decoder.json").string();
  const nlohmann::json json = parse_json(read_file(source), source, remedy);
  const JsonNode root(json, source + ": $", remedy);
  root["format_version"].integer(format_version, format_version);
  if (root["graph_sha256"].text() != manifest.graphs.at("decoder_step").sha256)
    throw backend_error(source + ": made for another voice's decoder_step; " + remedy);
  const std::vector<std::int64_t> capability = root["compute_capability"].integers(0, largest);
  if (capability.size() != 2) root["compute_capability"].fail("expected two numbers");
  FusedPackage package{folder,
                       root["gpu"].text(),
                       capability[0],
                       capability[1],
                       root["driver"].integer(0, largest),
                       root["decoder"].text(),
                       read_checked(folder, root["weights"]),
                       {}};
  for (const auto& kernel : root["kernels"].items()) package.kernels.push_back(read_kernel(folder, kernel));
  std::sort(package.kernels.begin(), package.kernels.end(), [](const FusedKernel& a, const FusedKernel& b) {
    return std::tie(a.batch, a.tokens) < std::tie(b.batch, b.tokens);
  });
  const std::int64_t tokens = manifest.dimensions.at('T').max;
  const auto serves_all = [&](const FusedKernel& kernel) { return kernel.tokens >= tokens; };
  if (std::none_of(package.kernels.begin(), package.kernels.end(), serves_all))
    throw backend_error(source + ": has no kernel for " + std::to_string(tokens) + " tokens; " + remedy);
  return package;
}

}  // namespace tacoglow
