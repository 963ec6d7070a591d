# Defines nibble::torch from a LibTorch found by path: CMAKE_PREFIX_PATH (the torch folder of a pip
# installation or an unpacked LibTorch), NIBBLE_TORCH_ROOT, the project's own .venv, or the torch
# of python3. The build and the installed package share this file.
#
# Not find_package(Torch): TorchConfig.cmake fails where there is no CUDA toolkit, ignores
# CMAKE_CUDA_ARCHITECTURES and exports absolute paths to whoever installs (docs/decisions/0001).
include_guard(GLOBAL)

set(NIBBLE_TORCH_VERSION 2.11)
file(GLOB _nibble_venv_torch LIST_DIRECTORIES true
     ${CMAKE_CURRENT_LIST_DIR}/../../.venv/lib/python3*/site-packages/torch)
find_path(NIBBLE_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h
          HINTS ${NIBBLE_TORCH_ROOT}/include PATHS ${_nibble_venv_torch} PATH_SUFFIXES include)
if(NOT NIBBLE_TORCH_INCLUDE)
  execute_process(
    COMMAND python3 -c "from importlib.util import find_spec as f; print(f('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE _nibble_python_torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_path(NIBBLE_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h
            PATHS ${_nibble_python_torch} PATH_SUFFIXES include NO_DEFAULT_PATH)
endif()
if(NOT NIBBLE_TORCH_INCLUDE)
  message(FATAL_ERROR "LibTorch ${NIBBLE_TORCH_VERSION} not found. Run ./bootstrap.sh deps, or "
    "`pip install torch==2.11.0` and pass -DCMAKE_PREFIX_PATH=$(python3 -c 'import torch,os;print(os.path.dirname(torch.__file__))').")
endif()
get_filename_component(_nibble_torch_root ${NIBBLE_TORCH_INCLUDE} DIRECTORY)

file(STRINGS ${NIBBLE_TORCH_INCLUDE}/torch/headeronly/version.h _nibble_version_lines
     REGEX "#define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*" "\\1.\\2" _nibble_torch_found "${_nibble_version_lines}")
if(NOT _nibble_torch_found VERSION_EQUAL NIBBLE_TORCH_VERSION)
  message(FATAL_ERROR "nibble needs LibTorch ${NIBBLE_TORCH_VERSION}; ${_nibble_torch_root} is ${_nibble_torch_found}")
endif()

set(_nibble_torch_lib ${_nibble_torch_root}/lib)
set(_nibble_torch_libraries ${_nibble_torch_lib}/libtorch.so ${_nibble_torch_lib}/libtorch_cpu.so ${_nibble_torch_lib}/libc10.so)
set(NIBBLE_TORCH_HAS_CUDA OFF)
if(EXISTS ${_nibble_torch_lib}/libtorch_cuda.so)
  set(NIBBLE_TORCH_HAS_CUDA ON)
  list(APPEND _nibble_torch_libraries ${_nibble_torch_lib}/libtorch_cuda.so ${_nibble_torch_lib}/libc10_cuda.so)
endif()
# The pip wheel keeps CUDA's libraries in sibling packages.
file(GLOB _nibble_nvidia_libs LIST_DIRECTORIES true ${_nibble_torch_root}/../nvidia/*/lib)

add_library(nibble::torch INTERFACE IMPORTED GLOBAL)
target_include_directories(nibble::torch SYSTEM INTERFACE
  ${NIBBLE_TORCH_INCLUDE} ${NIBBLE_TORCH_INCLUDE}/torch/csrc/api/include)
# libstdc++ first: libtorch.so exports a copy of std::filesystem from an older one, whose remove_all()
# calls a null pointer here.
target_link_libraries(nibble::torch INTERFACE
  "-Wl,--no-as-needed" stdc++ ${_nibble_torch_libraries} "-Wl,--as-needed")
target_link_options(nibble::torch INTERFACE "-Wl,-rpath,${_nibble_torch_lib}")
foreach(_nibble_dir IN LISTS _nibble_nvidia_libs)
  target_link_options(nibble::torch INTERFACE "-Wl,-rpath-link,${_nibble_dir}")
endforeach()
message(STATUS "LibTorch ${_nibble_torch_found}: ${_nibble_torch_root} (CUDA: ${NIBBLE_TORCH_HAS_CUDA})")
