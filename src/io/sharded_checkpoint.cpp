#include <nibble/core/error.h>
#include <nibble/io/json.h>
#include <nibble/io/sharded_checkpoint.h>

#include <nlohmann/json.hpp>

namespace nibble::io {
namespace {

int64_t bytes_of(const TensorGroup& group) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : group.tensors) bytes += tensor.byte_size();
  return bytes;
}

/// Fills one shard after the other; a group larger than a shard has one of its own.
std::vector<std::vector<TensorGroup>> into_shards(const std::vector<TensorGroup>& groups,
                                                  int64_t max_bytes) {
  std::vector<std::vector<TensorGroup>> shards(1);
  int64_t used = 0;
  for (const TensorGroup& group : groups) {
    const int64_t bytes = bytes_of(group);
    if (!shards.back().empty() && used + bytes > max_bytes) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(group);
    used += bytes;
  }
  return shards;
}

std::string five_digits(size_t number) {
  std::string digits = std::to_string(number);
  if (digits.size() < 5) digits.insert(0, 5 - digits.size(), '0');
  return digits;
}

std::string file_name(size_t shard, size_t shards) {
  if (shards == 1) return "model.safetensors";
  return "model-" + five_digits(shard + 1) + "-of-" + five_digits(shards) + ".safetensors";
}

}  // namespace

ShardedWriter::ShardedWriter(const std::filesystem::path& directory,
                             const std::vector<TensorGroup>& groups, int64_t max_shard_bytes,
                             const ShardMetadata& metadata)
    : directory_(directory) {
  const auto shards = into_shards(groups, max_shard_bytes);
  for (size_t i = 0; i < shards.size(); ++i) {
    std::vector<TensorInfo> tensors;
    for (const TensorGroup& group : shards[i]) {
      for (const TensorInfo& tensor : group.tensors) {
        const bool is_new = shard_of_.emplace(tensor.name, i).second;
        NIBBLE_CHECK(is_new, directory.string(), ": two tensors are named \"", tensor.name, "\"");
        tensors.push_back(tensor);
        total_bytes_ += tensor.byte_size();
      }
    }
    files_.push_back(file_name(i, shards.size()));
    writers_.emplace_back(directory / files_.back(), std::move(tensors), metadata(shards[i]));
  }
}

void ShardedWriter::write(const std::string& name, const TensorData& data) {
  const auto shard = shard_of_.find(name);
  NIBBLE_CHECK(shard != shard_of_.end(), directory_.string(), ": tensor \"", name,
               "\" was not announced");
  writers_[shard->second].write(name, data);
}

void ShardedWriter::finish() {
  for (SafetensorsWriter& writer : writers_) writer.finish();
  if (writers_.size() == 1) return;
  nlohmann::json weight_map = nlohmann::json::object();
  for (const auto& [name, shard] : shard_of_) weight_map[name] = files_[shard];
  write_json_file(directory_ / "model.safetensors.index.json",
                  {{"metadata", {{"total_size", total_bytes_}}}, {"weight_map", weight_map}});
}

}  // namespace nibble::io
