# Installs the library, its header, and what find_package(tacoglow) and pkg-config need; `cpack` makes an archive of it.
include(CMakePackageConfigHelpers)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/tacoglow")
install(TARGETS tacoglow EXPORT tacoglow)
install(FILES include/tacoglow.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ../LICENSE THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT tacoglow NAMESPACE tacoglow:: DESTINATION ${package_folder})
configure_package_config_file(cmake/tacoglow-config.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/tacoglow-config.cmake"
  INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/tacoglow-config-version.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/tacoglow-config.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/tacoglow-config-version.cmake" cmake/FindOnnxRuntime.cmake DESTINATION ${package_folder})
file(RELATIVE_PATH relative_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(cmake/tacoglow.pc.in "${CMAKE_CURRENT_BINARY_DIR}/tacoglow.pc" @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/tacoglow.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TACOGLOW_ONNXRUNTIME AND TACOGLOW_INSTALL_ONNXRUNTIME)
  file(REAL_PATH "${onnxruntime_file}" onnxruntime_real)
  if(WIN32)
    install(FILES "${onnxruntime_folder}/onnxruntime.dll" DESTINATION ${CMAKE_INSTALL_BINDIR}) # MSVC has found its .lib
  else()
    # The file under the name that the dynamic linker looks for, so that an installed tree can be moved.
    get_filename_component(onnxruntime_name "${onnxruntime_file}" NAME)
    install(FILES "${onnxruntime_real}" DESTINATION ${CMAKE_INSTALL_LIBDIR} RENAME "${onnxruntime_name}")
  endif()
  # Its licence, in the official archive as in the wheel; a distribution's package has it elsewhere.
  get_filename_component(onnxruntime_home "${onnxruntime_real}/../.." ABSOLUTE)
  install(FILES "${onnxruntime_home}/LICENSE" "${onnxruntime_home}/ThirdPartyNotices.txt"
    DESTINATION ${CMAKE_INSTALL_DOCDIR}/onnxruntime OPTIONAL)
elseif(TACOGLOW_ONNXRUNTIME)
  set_property(TARGET tacoglow APPEND PROPERTY INSTALL_RPATH "${onnxruntime_folder}")
endif()

if(WIN32)
  set(CPACK_GENERATOR ZIP)
else()
  set(CPACK_GENERATOR TGZ)
endif()
set(CPACK_PACKAGE_VENDOR tacoglow)
set(CPACK_PACKAGE_FILE_NAME "tacoglow-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}")
include(CPack)
