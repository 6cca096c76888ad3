// ONNX Runtime's objects with their lifetimes, and its errors as exceptions.
#pragma once

#include <memory>
#include <string>

#include "error.hpp"
#include "onnxruntime_abi.hpp"

namespace tacoglow::onnxruntime {

inline Table api() {
  static const Table table = OrtGetApiBase()->get_api(api_version);
  return table;
}

inline std::string version() { return OrtGetApiBase()->get_version(); }

// Calls a function of the table. Parameters must have exactly the function's types.
template <Function function, typename Result, typename... Parameters>
Result call(Parameters... parameters) {
  using Pointer = Result(TACOGLOW_ORT_CALL*)(Parameters...);
  return reinterpret_cast<Pointer>(api()[static_cast<std::size_t>(function)])(parameters...);
}

// Calls a function that returns a status. Throws Error (backend) with `what` and ONNX Runtime's message.
template <Function function, typename... Parameters>
void check(const std::string& what, Parameters... parameters) {
  Status* status = call<function, Status*>(parameters...);
  if (status == nullptr) return;
  const std::string message = call<Function::get_error_message, const char*>(const_cast<const Status*>(status));
  call<Function::release_status, void>(status);
  const bool out_of_memory =
      message.find("bad_alloc") != std::string::npos || message.find("Failed to allocate memory") != std::string::npos;
  throw Error(out_of_memory ? TACOGLOW_OUT_OF_MEMORY : TACOGLOW_BACKEND,
              what + ": ONNX Runtime " + version() + ": " + message);
}

template <typename Object, Function release>
struct Release {
  void operator()(Object* object) const { call<release, void>(object); }
};
template <typename Object, Function release>
using Owned = std::unique_ptr<Object, Release<Object, release>>;

using OwnedEnv = Owned<Env, Function::release_env>;
using OwnedSession = Owned<Session, Function::release_session>;
using OwnedSessionOptions = Owned<SessionOptions, Function::release_session_options>;
using OwnedMemoryInfo = Owned<MemoryInfo, Function::release_memory_info>;
using OwnedTypeInfo = Owned<TypeInfo, Function::release_type_info>;
using OwnedValue = Owned<Value, Function::release_value>;

}  // namespace tacoglow::onnxruntime
