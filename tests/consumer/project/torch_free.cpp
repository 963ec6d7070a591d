// Uses a layer that needs no LibTorch: a safetensors file written and read back.
#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/io/safetensors.h>

#include <filesystem>
#include <iostream>

int main() {
  const std::filesystem::path path = "consumer.safetensors";
  nibble::io::write_safetensors(path, {});
  nibble::log::info("written");
  if (!nibble::io::SafetensorsFile(path).names().empty()) {
    return 1;
  }
  try {
    nibble::io::SafetensorsFile("absent.safetensors");
  } catch (const nibble::Error& error) {
    std::cout << "torch_free: " << error.what() << '\n';
    return 0;
  }
  return 1;
}
