# Finds ONNX Runtime's library; its headers are not needed. Defines the target OnnxRuntime::onnxruntime.
#
# Searched: OnnxRuntime_ROOT (the official archive, which has lib/; or the folder onnxruntime/capi of the pip wheel),
# the package of a distribution, and the wheel of the Python on PATH.
if(NOT OnnxRuntime_LIBRARY)
  find_library(OnnxRuntime_LIBRARY onnxruntime)
endif()
if(NOT OnnxRuntime_LIBRARY)
  if(NOT OnnxRuntime_ROOT AND NOT CMAKE_CROSSCOMPILING)
    execute_process(COMMAND python3 -c "import importlib.util as u; print(u.find_spec('onnxruntime').submodule_search_locations[0] + '/capi')"
      OUTPUT_VARIABLE wheel OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  # The wheel has only the versioned file, such as libonnxruntime.so.1.32.0; for Windows it has the DLL alone, which
  # MinGW links with.
  file(GLOB found "${OnnxRuntime_ROOT}/libonnxruntime.so.*" "${OnnxRuntime_ROOT}/libonnxruntime.*.dylib"
    "${wheel}/libonnxruntime.so.*" "${wheel}/libonnxruntime.*.dylib")
  if(MINGW)
    file(GLOB found "${OnnxRuntime_ROOT}/onnxruntime.dll")
  endif()
  if(found)
    list(GET found 0 first)
    set(OnnxRuntime_LIBRARY "${first}" CACHE FILEPATH "ONNX Runtime's library" FORCE)
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntime REQUIRED_VARS OnnxRuntime_LIBRARY REASON_FAILURE_MESSAGE
  "set OnnxRuntime_ROOT to the official archive or to site-packages/onnxruntime/capi of the pip wheel")
if(OnnxRuntime_FOUND AND NOT TARGET OnnxRuntime::onnxruntime)
  # A program looks for libonnxruntime.so.1, which the wheel does not have: a link of that name.
  get_filename_component(OnnxRuntime_FILE "${OnnxRuntime_LIBRARY}" REALPATH)
  set(OnnxRuntime_NAMED "${OnnxRuntime_LIBRARY}")
  if(OnnxRuntime_FILE MATCHES "libonnxruntime\\.so\\.([0-9]+)")
    set(OnnxRuntime_NAMED "${CMAKE_CURRENT_BINARY_DIR}/onnxruntime/libonnxruntime.so.${CMAKE_MATCH_1}")
    file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/onnxruntime")
    file(CREATE_LINK "${OnnxRuntime_FILE}" "${OnnxRuntime_NAMED}" SYMBOLIC)
  endif()
  add_library(OnnxRuntime::onnxruntime UNKNOWN IMPORTED)
  set_target_properties(OnnxRuntime::onnxruntime PROPERTIES IMPORTED_LOCATION "${OnnxRuntime_NAMED}")
endif()
