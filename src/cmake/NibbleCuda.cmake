# Sets NIBBLE_WITH_CUDA. AUTO builds the CUDA kernels where nvcc and a LibTorch with CUDA are found.
set(NIBBLE_WITH_CUDA OFF)
if(NOT NIBBLE_CUDA STREQUAL "OFF")
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    # sm_80 and sm_90a machine code, and PTX that newer GPUs compile at load.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER AND (NIBBLE_TORCH_HAS_CUDA OR NOT NIBBLE_TORCH))
    enable_language(CUDA)
    # pip's packages have the runtime under its versioned name only, where FindCUDAToolkit does not look.
    get_filename_component(_nibble_nvcc ${CMAKE_CUDA_COMPILER} REALPATH)
    get_filename_component(_nibble_nvcc_dir ${_nibble_nvcc} DIRECTORY)
    find_library(CUDA_CUDART NAMES cudart libcudart.so.13
                 HINTS ${_nibble_nvcc_dir}/../lib64 ${_nibble_nvcc_dir}/../lib)
    find_package(CUDAToolkit REQUIRED)
    set(CMAKE_CUDA_STANDARD 17)
    set(NIBBLE_WITH_CUDA ON)
  elseif(NIBBLE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "NIBBLE_CUDA=ON, but there is no nvcc or this LibTorch is built without CUDA")
  endif()
endif()
message(STATUS "CUDA kernels: ${NIBBLE_WITH_CUDA}")
