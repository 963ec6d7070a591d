#pragma once

#include <nibble/io/safetensors_writer.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nibble::io {

/// Tensors that stay in one file, such as the parts of one quantized weight.
struct TensorGroup {
  std::string name;
  std::vector<TensorInfo> tensors;
  std::vector<int64_t> shape;  ///< of the weight that they stand for
};

/// The `__metadata__` of a file with these groups.
using ShardMetadata =
    std::function<std::map<std::string, std::string>(const std::vector<TensorGroup>&)>;

/// Writes the tensors of a Hugging Face directory one at a time: model.safetensors, or, where they
/// take more than `max_shard_bytes`, model-00001-of-0000N.safetensors and the index.
class ShardedWriter {
 public:
  /// Groups go into shards in their order. Throws Error on duplicate names.
  ShardedWriter(const std::filesystem::path& directory, const std::vector<TensorGroup>& groups,
                int64_t max_shard_bytes, const ShardMetadata& metadata);

  void write(const std::string& name, const TensorData& data);
  /// Throws Error when an announced tensor was not written.
  void finish();

 private:
  std::filesystem::path directory_;
  std::vector<std::string> files_;
  std::vector<SafetensorsWriter> writers_;
  std::map<std::string, size_t> shard_of_;
  int64_t total_bytes_ = 0;
};

}  // namespace nibble::io
