#include <nibble/io/file.h>
#include <nibble/train/metrics.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/temp_dir.h"

namespace nibble::train {
namespace {

TEST(MetricsLog, EveryRecordIsOnDiskAtOnce) {
  const testing::TempDir folder;
  const auto path = folder.path() / "logs" / "training.jsonl";
  MetricsLog log(path, 0);
  log.append({{"step", 0}, {"loss", 0.5}});
  EXPECT_EQ(io::read_text_file(path), "{\"step\":0,\"loss\":0.5}\n");
}

TEST(MetricsLog, AResumedRunReplacesWhatTheKilledOneWroteTooFar) {
  const testing::TempDir folder;
  const auto path = folder.path() / "training.jsonl";
  io::write_file_atomically(path,
                            "{\"step\":0}\n{\"step\":\"x\"}\n{\"step\":1}\n{\"step\":2}\n{\"ste");
  MetricsLog log(path, 1);
  log.append({{"step", 1}, {"again", true}});
  EXPECT_EQ(io::read_text_file(path), "{\"step\":0}\n{\"step\":1,\"again\":true}\n");
}

}  // namespace
}  // namespace nibble::train
