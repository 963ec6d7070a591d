#include <nibble/core/error.h>
#include <nibble/io/file.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "support/temp_dir.h"

namespace nibble::io {
namespace {

namespace fs = std::filesystem;
using nibble::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

size_t count_entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {}));
}

TEST(File, WritesAndReadsBack) {
  const TempDir folder;
  const std::string content("a\0b\n", 4);
  write_file_atomically(folder / "f", content);
  EXPECT_EQ(read_text_file(folder / "f"), content);
  write_file_atomically(folder / "f", "");
  EXPECT_EQ(read_text_file(folder / "f"), "");
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(File, AFailedWriteLeavesTheOldContentAndNoTemporaryFile) {
  const TempDir folder;
  write_file_atomically(folder / "f", "old");
  EXPECT_THROW(write_file_atomically(folder / "f",
                                     [](std::ostream& out) {
                                       out << "new";
                                       fail("interrupted");
                                     }),
               Error);
  EXPECT_EQ(read_text_file(folder / "f"), "old");
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(File, AFailedStreamIsAnError) {
  const TempDir folder;
  const auto break_stream = [](std::ostream& out) { out.setstate(std::ios::badbit); };
  EXPECT_THROW(write_file_atomically(folder / "f", break_stream), Error);
  EXPECT_EQ(count_entries(folder.path()), 0u);
}

TEST(File, WritingIntoAMissingFolderNamesIt) {
  const TempDir folder;
  EXPECT_THAT([&] { write_file_atomically(folder / "none" / "f", "x"); },
              ThrowsMessage<Error>(HasSubstr((folder / "none").string())));
}

TEST(File, ReadingAMissingFileOrAFolderNamesIt) {
  const TempDir folder;
  const fs::path missing = folder / "missing";
  EXPECT_THAT([&] { read_text_file(missing); }, ThrowsMessage<Error>(HasSubstr(missing.string())));
  EXPECT_THAT([&] { MappedFile map(missing); }, ThrowsMessage<Error>(HasSubstr(missing.string())));
  EXPECT_THROW(read_text_file(folder.path()), Error);
  EXPECT_THROW(MappedFile map(folder.path()), Error);
}

TEST(MappedFile, AnEmptyFileGivesAnEmptySpan) {
  const TempDir folder;
  write_file_atomically(folder / "empty", "");
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
}

TEST(MappedFile, TheOwnerKeepsTheMapAlive) {
  const TempDir folder;
  write_file_atomically(folder / "f", "abc");
  std::shared_ptr<const void> owner;
  std::span<const std::byte> bytes;
  {
    const MappedFile file(folder / "f");
    owner = file.owner();
    bytes = file.bytes();
  }
  fs::remove(folder / "f");
  ASSERT_EQ(bytes.size(), 3u);
  EXPECT_EQ(static_cast<char>(bytes[2]), 'c');
}

}  // namespace
}  // namespace nibble::io
