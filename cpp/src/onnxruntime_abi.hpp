// The part of ONNX Runtime's C interface that this runtime uses, by its place in the table of functions.
//
// ONNX Runtime only ever appends to that table, so that version 5 of it, all that is needed here, is a prefix of the
// table in every release since 1.5. The pip wheel contains the library without its headers; declaring these functions
// here lets the build use the wheel, a distribution's package and the official archive alike.
// checks/onnxruntime_abi.cpp compares the places with the official header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tacoglow::onnxruntime {

struct Status;  // nullptr: success
struct Env;
struct Session;
struct SessionOptions;
struct RunOptions;
struct MemoryInfo;
struct Value;
struct Allocator;
struct TypeInfo;
struct TensorInfo;

#if defined(_WIN32)
#define TACOGLOW_ORT_CALL __stdcall
#else
#define TACOGLOW_ORT_CALL
#endif

// What ONNX Runtime hands its messages to.
using Logger = void(TACOGLOW_ORT_CALL*)(void* user, int severity, const char* category, const char* id,
                                        const char* location, const char* message);

constexpr std::uint32_t api_version = 5;
constexpr int log_warning = 2;  // ORT_LOGGING_LEVEL_*
constexpr int log_error = 3;
constexpr int element_float = 1;  // ONNX_TENSOR_ELEMENT_DATA_TYPE_*
constexpr int element_int32 = 6;
constexpr int element_bool = 9;
constexpr int arena_allocator = 1;  // OrtArenaAllocator
constexpr int default_memory = 0;   // OrtMemTypeDefault

// Places in the table.
enum class Function : std::size_t {
  get_error_message = 2,
  create_env_with_custom_logger = 4,
  disable_telemetry = 6,
  create_session_from_array = 8,
  run = 9,
  create_session_options = 10,
  disable_memory_pattern = 17,
  set_log_severity = 22,
  set_intra_op_threads = 24,
  set_inter_op_threads = 25,
  session_input_count = 30,
  session_output_count = 31,
  session_input_type = 33,
  session_output_type = 34,
  session_input_name = 36,
  session_output_name = 37,
  create_tensor_with_data = 49,
  type_to_tensor_info = 55,
  tensor_element_type = 60,
  tensor_dimension_count = 61,
  tensor_dimensions = 62,
  tensor_dimension_names = 63,
  create_cpu_memory_info = 69,
  allocator_free = 76,
  default_allocator = 78,
  release_env = 92,
  release_status = 93,
  release_memory_info = 94,
  release_session = 95,
  release_value = 96,
  release_type_info = 98,
  release_session_options = 100,
  add_session_config_entry = 130,
};

using Table = void* const*;

struct ApiBase {
  Table(TACOGLOW_ORT_CALL* get_api)(std::uint32_t version);
  const char*(TACOGLOW_ORT_CALL* get_version)();
};

}  // namespace tacoglow::onnxruntime

extern "C" const tacoglow::onnxruntime::ApiBase* TACOGLOW_ORT_CALL OrtGetApiBase();
