# The package that find_package(nibble) finds; each layer installs its own target and headers.
# Nothing in it names this machine: torch is found anew where the package is used.
include(CMakePackageConfigHelpers)

set(_nibble_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
install(EXPORT nibbleTargets NAMESPACE nibble:: DESTINATION ${_nibble_cmake_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/nibbleConfig.cmake.in
  ${PROJECT_BINARY_DIR}/nibbleConfig.cmake INSTALL_DESTINATION ${_nibble_cmake_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nibbleConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nibbleConfig.cmake ${PROJECT_BINARY_DIR}/nibbleConfigVersion.cmake
        ${CMAKE_CURRENT_LIST_DIR}/NibbleTorch.cmake DESTINATION ${_nibble_cmake_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(EXISTS ${PROJECT_SOURCE_DIR}/include/nibble/nibble.h)
  install(FILES ${PROJECT_SOURCE_DIR}/include/nibble/nibble.h
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/nibble)
endif()
