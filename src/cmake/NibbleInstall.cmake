# install() rules of the package itself; each layer installs its own target and headers.
include(CMakePackageConfigHelpers)
set(_nibble_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
