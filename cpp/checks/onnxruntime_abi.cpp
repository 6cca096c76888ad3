// Compares src/onnxruntime_abi.hpp with the official header; only compiled, with the header's folder on the search
// path.
#define OrtGetApiBase OfficialGetApiBase
#include <onnxruntime_c_api.h>
#undef OrtGetApiBase

#include "onnxruntime_abi.hpp"

namespace {

using tacoglow::onnxruntime::Function;

#define REQUIRE_PLACE(place, name) \
  static_assert(offsetof(OrtApi, name) == static_cast<std::size_t>(Function::place) * sizeof(void*), #name)

REQUIRE_PLACE(get_error_message, GetErrorMessage);
REQUIRE_PLACE(create_env_with_custom_logger, CreateEnvWithCustomLogger);
REQUIRE_PLACE(disable_telemetry, DisableTelemetryEvents);
REQUIRE_PLACE(create_session_from_array, CreateSessionFromArray);
REQUIRE_PLACE(run, Run);
REQUIRE_PLACE(create_session_options, CreateSessionOptions);
REQUIRE_PLACE(disable_memory_pattern, DisableMemPattern);
REQUIRE_PLACE(set_log_severity, SetSessionLogSeverityLevel);
REQUIRE_PLACE(set_intra_op_threads, SetIntraOpNumThreads);
REQUIRE_PLACE(set_inter_op_threads, SetInterOpNumThreads);
REQUIRE_PLACE(session_input_count, SessionGetInputCount);
REQUIRE_PLACE(session_output_count, SessionGetOutputCount);
REQUIRE_PLACE(session_input_type, SessionGetInputTypeInfo);
REQUIRE_PLACE(session_output_type, SessionGetOutputTypeInfo);
REQUIRE_PLACE(session_input_name, SessionGetInputName);
REQUIRE_PLACE(session_output_name, SessionGetOutputName);
REQUIRE_PLACE(create_tensor_with_data, CreateTensorWithDataAsOrtValue);
REQUIRE_PLACE(type_to_tensor_info, CastTypeInfoToTensorInfo);
REQUIRE_PLACE(tensor_element_type, GetTensorElementType);
REQUIRE_PLACE(tensor_dimension_count, GetDimensionsCount);
REQUIRE_PLACE(tensor_dimensions, GetDimensions);
REQUIRE_PLACE(tensor_dimension_names, GetSymbolicDimensions);
REQUIRE_PLACE(create_cpu_memory_info, CreateCpuMemoryInfo);
REQUIRE_PLACE(allocator_free, AllocatorFree);
REQUIRE_PLACE(default_allocator, GetAllocatorWithDefaultOptions);
REQUIRE_PLACE(release_env, ReleaseEnv);
REQUIRE_PLACE(release_status, ReleaseStatus);
REQUIRE_PLACE(release_memory_info, ReleaseMemoryInfo);
REQUIRE_PLACE(release_session, ReleaseSession);
REQUIRE_PLACE(release_value, ReleaseValue);
REQUIRE_PLACE(release_type_info, ReleaseTypeInfo);
REQUIRE_PLACE(release_session_options, ReleaseSessionOptions);
REQUIRE_PLACE(add_session_config_entry, AddSessionConfigEntry);

static_assert(tacoglow::onnxruntime::log_warning == ORT_LOGGING_LEVEL_WARNING);
static_assert(tacoglow::onnxruntime::log_error == ORT_LOGGING_LEVEL_ERROR);
static_assert(tacoglow::onnxruntime::element_float == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
static_assert(tacoglow::onnxruntime::element_int32 == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32);
static_assert(tacoglow::onnxruntime::element_bool == ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL);
static_assert(tacoglow::onnxruntime::arena_allocator == OrtArenaAllocator);
static_assert(tacoglow::onnxruntime::default_memory == OrtMemTypeDefault);

}  // namespace
