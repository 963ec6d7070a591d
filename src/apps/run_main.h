#pragma once

#include <nibble/core/allocator.h>

#include <exception>
#include <iostream>

namespace nibble::apps {

/// Runs a program: an exception becomes one line on standard error and exit code 1, and so does
/// output that could not be written.
inline int run_main(int (*program)(int, char**), int argc, char** argv) {
  try {
    keep_freed_memory();
    const int code = program(argc, argv);
    if (code == 0 && !std::cout.flush()) {
      std::cerr << argv[0] << ": standard output could not be written" << std::endl;
      return 1;
    }
    return code;
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << std::endl;
    return 1;
  }
}

}  // namespace nibble::apps
