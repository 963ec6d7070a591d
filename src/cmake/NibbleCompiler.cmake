# Compiler settings that every target shares. A precompiled header is only reused between targets
# with equal flags, so nothing here depends on the kind of target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
# Installed programs find libnibble_ops beside them, wherever the prefix is moved.
set(CMAKE_INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR})
# Adds all_verify_interface_header_sets, which compiles each public header alone.
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ${NIBBLE_BUILD_TESTS})
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(NIBBLE_CCACHE ccache)
if(NIBBLE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache understands precompiled headers only with these two.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${NIBBLE_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${NIBBLE_CCACHE})
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

add_library(nibble_flags INTERFACE)
target_compile_options(nibble_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fPIC -ffp-contract=off -Wall -Wextra -Wshadow>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${NIBBLE_WERROR}>>:-Werror>)
target_compile_definitions(nibble_flags INTERFACE $<$<BOOL:${NIBBLE_DEBUG_CHECKS}>:NIBBLE_DEBUG_CHECKS=1>)
if(NIBBLE_SANITIZE)
  target_compile_options(nibble_flags INTERFACE -fsanitize=${NIBBLE_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(nibble_flags INTERFACE -fsanitize=${NIBBLE_SANITIZE})
endif()
# Two torch translation units at a time: each takes 1.5 GB.
set_property(GLOBAL APPEND PROPERTY JOB_POOLS torch=2)
