#include <nibble/core/error.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/file_metadata.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/io/sharded_checkpoint.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cstring>

#include "support/temp_dir.h"

namespace nibble::io {
namespace {

using nibble::testing::TempDir;
using ::testing::ElementsAre;

class ShardedWriterTest : public ::testing::Test {
 protected:
  static TensorData four_floats(float value) {
    auto values = std::make_shared<std::vector<float>>(4, value);
    return {DType::kF32, {4}, std::as_bytes(std::span(*values)), values};
  }
  static TensorGroup group(const std::string& name, const std::vector<std::string>& parts) {
    TensorGroup result{name, {}, {4}};
    for (const std::string& part : parts) result.tensors.push_back({part, DType::kF32, {4}});
    return result;
  }
  /// The names of the groups in each file.
  static std::map<std::string, std::string> group_names(const std::vector<TensorGroup>& groups) {
    std::string names;
    for (const TensorGroup& one : groups) names += one.name + " ";
    return {{"groups", names}};
  }

  TempDir folder_;
  const std::vector<TensorGroup> groups_ = {group("a", {"a"}), group("b", {"b.codes", "b.scales"}),
                                            group("c", {"c"})};
};

TEST_F(ShardedWriterTest, KeepsGroupsTogetherAndWritesTheIndex) {
  ShardedWriter writer(folder_.path(), groups_, /*max_shard_bytes=*/40, group_names);
  writer.write("c", four_floats(3));
  writer.write("b.scales", four_floats(2));
  writer.write("b.codes", four_floats(1));
  writer.write("a", four_floats(0));
  writer.finish();
  write_json_file(folder_ / "config.json", nlohmann::json::object());

  const SafetensorsFile second(folder_ / "model-00002-of-00003.safetensors");
  EXPECT_THAT(second.names(), ElementsAre("b.codes", "b.scales"));
  EXPECT_EQ(second.metadata().at("groups"), "b ");
  const auto checkpoint = open_checkpoint(folder_.path());
  for (const auto& [name, value] : {std::pair("a", 0.0f), {"b.codes", 1.0f}, {"c", 3.0f}}) {
    float stored = -1;
    std::memcpy(&stored, checkpoint->read(name).bytes.data(), sizeof(stored));
    EXPECT_EQ(stored, value) << name;
  }
  const auto& files = dynamic_cast<const FileMetadata&>(*checkpoint);
  EXPECT_EQ(files.metadata("groups"), "a ");
  EXPECT_EQ(files.metadata("nothing"), std::nullopt);
}

TEST_F(ShardedWriterTest, WritesOneFileWhereEverythingFits) {
  ShardedWriter writer(folder_.path(), groups_, /*max_shard_bytes=*/64, group_names);
  for (const char* name : {"a", "b.codes", "b.scales"}) writer.write(name, four_floats(0));
  EXPECT_THROW(writer.finish(), Error) << "c is missing";
  EXPECT_THROW(writer.write("d", four_floats(0)), Error);
  EXPECT_THROW(writer.write("c", {DType::kBF16, {8}, four_floats(0).bytes, nullptr}), Error);
  writer.write("c", four_floats(0));
  writer.finish();
  EXPECT_EQ(SafetensorsFile(folder_ / "model.safetensors").names().size(), 4u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "model.safetensors.index.json"));
}

}  // namespace
}  // namespace nibble::io
