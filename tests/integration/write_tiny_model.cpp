#include <nibble/core/error.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>

#include "support/tiny_model.h"

/// nibble_write_tiny_model DIR: DIR/model, DIR/rows.jsonl, DIR/validation.jsonl.
int main(int argc, char** argv) {
  constexpr int64_t kRows = 24;
  try {
    NIBBLE_CHECK(argc == 2, "usage: nibble_write_tiny_model DIR");
    const std::filesystem::path directory = argv[1];
    nibble::testing::write_tiny_model(directory / "model");
    nibble::testing::write_tiny_rows(directory / "rows.jsonl", kRows);
    nibble::testing::write_tiny_rows(directory / "validation.jsonl", 6, kRows);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
