// Runs the bundle's ONNX graphs with ONNX Runtime, on the CPU or with its CUDA provider. Threads share the sessions.

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <future>
#include <iterator>
#include <map>
#include <thread>
#include <utility>

#include "backend.hpp"
#include "error.hpp"
#include "graph_file.hpp"
#include "host_steps.hpp"
#include "log.hpp"
#include "onnxruntime_api.hpp"
#include "onnxruntime_tensors.hpp"

#if defined(__linux__)
#include <sched.h>
#endif

namespace tacoglow {
namespace {

namespace ort = onnxruntime;

// Switches ONNX Runtime's reports of usage off, which it reads when the first environment is created. Returns false if
// the user has set the variable: then it is the user's choice.
bool switch_telemetry_off() {
  constexpr const char* variable = "ORT_DISABLE_TELEMETRY";
  static const bool is_off = [] {
    if (std::getenv(variable) != nullptr) return false;
#if defined(_WIN32)
    return _putenv_s(variable, "1") == 0;
#else
    return setenv(variable, "1", 1) == 0;
#endif
  }();
  return is_off;
}

// Cores that this process may use: in a container fewer than the machine has.
int usable_cores() {
#if defined(__linux__)
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) == 0) return CPU_COUNT(&usable);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

const GraphFile& file_of(const std::string& graph, const Manifest& manifest, const BackendOptions& options) {
  const bool is_int8 = options.compute != Compute::fp32 && manifest.int8_decoder && graph == "decoder_step";
  return is_int8 ? *manifest.int8_decoder : manifest.graphs.at(graph);
}

void TACOGLOW_ORT_CALL pass_on(void*, int severity, const char*, const char*, const char*, const char* message) {
  log(severity >= ort::log_error ? TACOGLOW_LOG_ERROR : TACOGLOW_LOG_WARNING, message);
}

// The graphs of a bundle, one session each.
class Graphs {
 public:
  Graphs(const BundleFiles& files, const Manifest& manifest, const BackendOptions& options, bool cuda) {
    if (ort::api() == nullptr) throw backend_error("ONNX Runtime " + ort::version() + ": its interface is too old");
    const bool is_quiet = switch_telemetry_off();
    ort::Env* env = nullptr;
    ort::check<ort::Function::create_env_with_custom_logger>("create an environment", static_cast<ort::Logger>(pass_on),
                                                             static_cast<void*>(nullptr), ort::log_warning, "tacoglow",
                                                             &env);
    env_.reset(env);
    if (is_quiet)
      ort::check<ort::Function::disable_telemetry>("switch telemetry off", static_cast<const ort::Env*>(env));
    ort::MemoryInfo* memory = nullptr;
    ort::check<ort::Function::create_cpu_memory_info>("describe memory", ort::arena_allocator, ort::default_memory,
                                                      &memory);
    memory_.reset(memory);
    const auto settings = session_options(options, cuda);
    // While a graph is loaded, the next one's file is read and its digest computed.
    std::future<std::string> content;
    const auto read = [&](const std::string& name) {
      const GraphFile& file = file_of(name, manifest, options);
      content = std::async(std::launch::async, [&] { return read_onnx(files, file); });
    };
    if (!manifest.graphs.empty()) read(manifest.graphs.begin()->first);
    for (auto graph = manifest.graphs.begin(); graph != manifest.graphs.end(); ++graph) {
      const auto& [name, spec] = *graph;
      const std::string bytes = content.get();
      if (const auto next = std::next(graph); next != manifest.graphs.end()) read(next->first);
      ort::Session* session = nullptr;
      ort::check<ort::Function::create_session_from_array>(
          files.name_of(file_of(name, manifest, options).file) + ": cannot load this graph",
          static_cast<const ort::Env*>(env_.get()), static_cast<const void*>(bytes.data()), bytes.size(),
          static_cast<const ort::SessionOptions*>(settings.get()), &session);
      sessions_[name].reset(session);
      ort::check_tensors(name, spec, session);
    }
  }

  // Returns a call that runs a graph over these tensors, which stay where they are and outlive it.
  BoundGraph bind(const GraphSpec& spec, const std::string& graph, const ConstTensorRefs& inputs,
                  const TensorRefs& outputs) const {
    auto bound = std::make_shared<Bound>();
    bound->session = sessions_.at(graph).get();
    bound->failure = graph + ": cannot run this graph";
    for (const auto& tensor : spec.inputs) {
      bound->input_names.push_back(tensor.name.c_str());
      bound->owned.push_back(wrap(*inputs.at(tensor.name)));
      bound->read.push_back(bound->owned.back().get());
    }
    for (const auto& tensor : spec.outputs) {
      bound->output_names.push_back(tensor.name.c_str());
      bound->owned.push_back(wrap(*outputs.at(tensor.name)));
      bound->written.push_back(bound->owned.back().get());
    }
    return [bound = std::move(bound)] { bound->run(); };
  }

 private:
  // A graph with the values that share the memory of its tensors.
  struct Bound {
    void run() {
      ort::check<ort::Function::run>(
          failure, session, static_cast<const ort::RunOptions*>(nullptr),
          static_cast<const char* const*>(input_names.data()), static_cast<const ort::Value* const*>(read.data()),
          read.size(), static_cast<const char* const*>(output_names.data()), written.size(), written.data());
    }

    ort::Session* session = nullptr;
    std::string failure;
    std::vector<const char*> input_names, output_names;
    std::vector<ort::OwnedValue> owned;
    std::vector<const ort::Value*> read;
    std::vector<ort::Value*> written;
  };

  static ort::OwnedSessionOptions session_options(const BackendOptions& options, bool cuda) {
    ort::SessionOptions* created = nullptr;
    ort::check<ort::Function::create_session_options>("create options", &created);
    ort::OwnedSessionOptions settings(created);
    ort::check<ort::Function::set_intra_op_threads>("set the number of threads", created, options.threads);
    ort::check<ort::Function::set_inter_op_threads>("set the number of threads", created, 1);
    // A pattern is one block for all activations of a shape; blocks for many shapes would fragment the arena.
    ort::check<ort::Function::disable_memory_pattern>("set how memory is planned", created);
    // Each session has threads of its own. Those that spin after a run keep the next session's from the cores.
    ort::check<ort::Function::add_session_config_entry>("stop threads from spinning", created,
                                                        "session.force_spinning_stop", "1");
    // Files are checked as ONNX; bytes in ONNX Runtime's own format, which it would recognize, were not.
    ort::check<ort::Function::add_session_config_entry>("set the format", created, "session.load_model_format", "ONNX");
    ort::check<ort::Function::set_log_severity>("set the log's severity", created, ort::log_warning);
    if (cuda) append_cuda(created, options.device);
    return settings;
  }

  // Every build of ONNX Runtime with the CUDA provider exports this function; others may lack it.
  static void append_cuda(ort::SessionOptions* settings, int device) {
#if defined(_WIN32)
    (void)settings, (void)device;
    throw backend_error("backend 'onnxruntime-cuda': not supported on Windows");
#else
    using Append = ort::Status* (*)(ort::SessionOptions*, int);
    const auto append = reinterpret_cast<Append>(dlsym(RTLD_DEFAULT, "OrtSessionOptionsAppendExecutionProvider_CUDA"));
    if (append == nullptr)
      throw backend_error("backend 'onnxruntime-cuda': ONNX Runtime " + ort::version() +
                          " was built without the CUDA provider; link onnxruntime-gpu's library");
    if (ort::Status* status = append(settings, device)) {
      const std::string message =
          ort::call<ort::Function::get_error_message, const char*>(const_cast<const ort::Status*>(status));
      ort::call<ort::Function::release_status, void>(status);
      throw backend_error("backend 'onnxruntime-cuda': " + message);
    }
#endif
  }

  // Returns a value that shares the tensor's memory; a graph only reads its inputs.
  ort::OwnedValue wrap(const Tensor& tensor) const {
    ort::Value* value = nullptr;
    ort::check<ort::Function::create_tensor_with_data>(
        "wrap a tensor", static_cast<const ort::MemoryInfo*>(memory_.get()), const_cast<void*>(tensor.data()),
        tensor.size_bytes(), tensor.shape().data(), tensor.shape().size(), ort::element_type(tensor.dtype()), &value);
    return ort::OwnedValue(value);
  }

  ort::OwnedEnv env_;
  ort::OwnedMemoryInfo memory_;
  std::map<std::string, ort::OwnedSession> sessions_;
};

class OnnxRuntimeInstance : public BackendInstance {
 public:
  OnnxRuntimeInstance(const Graphs& graphs, const Manifest& manifest) : graphs_(graphs), manifest_(manifest) {}

  Tensors run(const std::string& graph, const Tensors& inputs) override {
    const Dims dims = check_inputs(graph, manifest_, inputs);
    const GraphSpec& spec = manifest_.graphs.at(graph);
    Tensors outputs;
    for (const auto& tensor : spec.outputs) outputs[tensor.name] = Tensor(tensor.dtype, tensor.resolve(dims));
    graphs_.bind(spec, graph, refer_to(inputs), refer_to(outputs))();
    return outputs;
  }

  std::unique_ptr<HostSteps> start_on_host(DecoderInput input) override {
    const auto bind = [this](const ConstTensorRefs& inputs, const TensorRefs& outputs) {
      return graphs_.bind(manifest_.graphs.at("decoder_step"), "decoder_step", inputs, outputs);
    };
    return std::make_unique<HostSteps>(bind, manifest_, std::move(input));
  }

 private:
  const Graphs& graphs_;
  const Manifest& manifest_;
};

class OnnxRuntimeBackend : public Backend {
 public:
  OnnxRuntimeBackend(const BundleFiles& files, Manifest manifest, const BackendOptions& options, bool cuda)
      : manifest_(std::move(manifest)),
        compute_(options.compute),
        parallel_windows_(cuda ? 0 : std::max(usable_cores() / options.threads, 1)),
        graphs_(files, manifest_, options, cuda) {}

  std::unique_ptr<BackendInstance> create_instance() override {
    return std::make_unique<OnnxRuntimeInstance>(graphs_, manifest_);
  }

  std::int64_t parallel_windows() const override { return parallel_windows_; }

  std::string decoder() const override {
    if (compute_ == Compute::fp32) return {};
    return manifest_.int8_decoder ? "int8: the bundle's 8-bit weights" : "fp32: the bundle has no 8-bit weights";
  }

 private:
  Manifest manifest_;
  Compute compute_;
  std::int64_t parallel_windows_;
  Graphs graphs_;
};

std::unique_ptr<Backend> open(const BundleFiles& files, const Manifest& manifest, const BackendOptions& options,
                              bool cuda) {
  if (options.threads < 0) throw request_error("threads: expected 0 or more, got " + std::to_string(options.threads));
  if (manifest.precision == "bf16" && !cuda)
    throw backend_error("onnxruntime: has no bf16 kernels on a CPU; export the voice with --precision fp32");
  BackendOptions resolved = options;
  if (resolved.threads == 0) resolved.threads = usable_cores();
  return std::make_unique<OnnxRuntimeBackend>(files, manifest, resolved, cuda);
}

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const BundleFiles& files, const Manifest& manifest,
                                          const BackendOptions& options) {
  return open(files, manifest, options, false);
}

std::unique_ptr<Backend> open_onnxruntime_cuda(const BundleFiles& files, const Manifest& manifest,
                                               const BackendOptions& options) {
  BackendOptions own = options;
  own.compute = Compute::fp32;  // the 8-bit weights are for CPUs
  return open(files, manifest, own, true);
}

}  // namespace tacoglow
