#include <nibble/core/error.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/gguf.h>
#include <nibble/io/safetensors.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "gguf_builder.h"
#include "support/temp_dir.h"
#include "tiny_gguf.h"

// Damages every byte of a header and cuts the file at every length. Each file must be refused with
// Error or parse to tensors that lie inside it; run under AddressSanitizer for the sharp form.
namespace nibble::io {
namespace {

using nibble::testing::TempDir;
using testing::tiny_llama;

/// Sums all bytes so that a view out of bounds is read.
unsigned touch(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
  return sum;
}

void read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  for (const std::string& name : file.names()) touch(file.at(name).bytes);
}

void read_gguf_model(const std::filesystem::path& path) {
  const GgufFile file(path);
  for (const std::string& name : file.names()) touch(file.read(name).bytes);
  const auto checkpoint = open_checkpoint(path);
  for (const std::string& name : checkpoint->tensor_names()) touch(checkpoint->read(name).bytes);
  checkpoint->tokenizer_json();
}

struct Outcome {
  int parsed = 0, refused = 0;
};

class Corruption : public ::testing::Test {
 protected:
  template <class Read>
  void try_file(const std::string& content, const Read& read) {
    {
      // A new file each time: overwriting one makes some file systems wait for the disk.
      std::filesystem::remove(path_);
      std::ofstream out(path_, std::ios::binary | std::ios::trunc);
      out << content;
    }
    try {
      read(path_);
      ++outcome_.parsed;
    } catch (const Error&) {
      ++outcome_.refused;
    }
  }

  template <class Read>
  void damage(const std::string& content, size_t header_bytes, const Read& read) {
    ASSERT_NO_FATAL_FAILURE(try_file(content, read));
    ASSERT_EQ(outcome_.parsed, 1) << "the undamaged file must parse";
    for (size_t i = 0; i < header_bytes; ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string damaged = content;
        damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
        try_file(damaged, read);
      }
      for (const char value : {'\0', '\xff', '\x7f', '\x80'}) {
        std::string damaged = content;
        damaged[i] = value;
        try_file(damaged, read);
      }
    }
    const Outcome before = outcome_;
    for (size_t length = 0; length < content.size(); ++length) {
      try_file(content.substr(0, length), read);
    }
    EXPECT_EQ(outcome_.parsed, before.parsed) << "a truncated file must be refused";
    EXPECT_GT(before.refused, static_cast<int>(header_bytes));
  }

  TempDir folder_;
  std::filesystem::path path_ = folder_ / "x.gguf";
  Outcome outcome_;
};

TEST_F(Corruption, OfSafetensorsHeadersIsRefusedOrHarmless) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto bytes = std::as_bytes(std::span(values));
  write_safetensors(path_, {{"a", {DType::kF32, {2, 3}, bytes, nullptr}},
                            {"b", {DType::kI16, {12}, bytes, nullptr}},
                            {"c", {DType::kBool, {}, bytes.first(1), nullptr}}});
  const std::string content = read_text_file(path_);
  damage(content, content.size() - 49, read_safetensors);
}

TEST_F(Corruption, OfGgufHeadersIsRefusedOrHarmless) {
  const auto model = tiny_llama();
  damage(model.build(), model.header().size(), read_gguf_model);
}

}  // namespace
}  // namespace nibble::io
