#pragma once

#include <nibble/core/allocator.h>

#include <exception>
#include <iostream>

namespace nibble::apps {

/// Runs a program: an exception becomes one line on standard error and exit code 1.
inline int run_main(int (*program)(int, char**), int argc, char** argv) {
  try {
    keep_freed_memory();
    return program(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << std::endl;
    return 1;
  }
}

}  // namespace nibble::apps
