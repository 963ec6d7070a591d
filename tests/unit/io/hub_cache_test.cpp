#include <nibble/core/error.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/file.h>
#include <nibble/io/safetensors.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>

#include "support/temp_dir.h"

// Models by the hub's name: tests/unit/io/checkpoint_test.cpp has those by path.
namespace nibble::io {
namespace {

namespace fs = std::filesystem;
using nibble::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

const std::string kCommit(40, 'c');
const std::string kOtherCommit(40, 'd');

/// A home directory, and no variable that names a cache.
class HubCache : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      const char* value = std::getenv(name);
      saved_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      ::unsetenv(name);
    }
    ::setenv("HOME", home_.path().c_str(), 1);
  }
  void TearDown() override {
    for (const auto& [name, value] : saved_) {
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
    }
  }

  fs::path default_cache() const { return home_ / ".cache/huggingface/hub"; }

  /// As huggingface_hub stores a download: files are links to blobs.
  static void write_snapshot(const fs::path& cache, const std::string& commit,
                             bool with_weights = true) {
    const fs::path model = cache / "models--org--tiny.v1";
    const fs::path snapshot = model / "snapshots" / commit;
    fs::create_directories(snapshot);
    fs::create_directories(model / "blobs");
    write_file_atomically(model / "blobs/1", "{}");
    fs::create_symlink("../../blobs/1", snapshot / "config.json");
    if (!with_weights) return;
    const std::vector<float> values = {1, 2};
    write_safetensors(model / "blobs" / commit,
                      {{"a", {DType::kF32, {2}, std::as_bytes(std::span(values)), nullptr}}});
    fs::create_symlink("../../blobs/" + commit, snapshot / "model.safetensors");
  }
  static void write_reference(const fs::path& cache, const std::string& name,
                              const std::string& content) {
    const fs::path file = cache / "models--org--tiny.v1/refs" / name;
    fs::create_directories(file.parent_path());
    write_file_atomically(file, content);
  }
  static std::string opened(const std::string& name) {
    return open_checkpoint(name)->path().filename().string();
  }
  template <class Matcher>
  static void expect_error(const std::string& name, const Matcher& matcher) {
    EXPECT_THAT([&] { open_checkpoint(name); }, ThrowsMessage<Error>(matcher)) << name;
  }

  TempDir home_;
  std::map<std::string, std::optional<std::string>> saved_;
};

TEST_F(HubCache, FindsBranchTagPullRequestAndCommit) {
  write_snapshot(default_cache(), kCommit);
  write_snapshot(default_cache(), kOtherCommit);
  write_reference(default_cache(), "main", kCommit + "\n");
  write_reference(default_cache(), "v1.0", kOtherCommit);
  write_reference(default_cache(), "refs/pr/3", kOtherCommit);
  EXPECT_EQ(opened("org/tiny.v1"), kCommit);
  EXPECT_EQ(opened("org/tiny.v1@main"), kCommit);
  EXPECT_EQ(opened("org/tiny.v1@v1.0"), kOtherCommit);
  EXPECT_EQ(opened("org/tiny.v1@refs/pr/3"), kOtherCommit);
  EXPECT_EQ(opened("org/tiny.v1@" + kOtherCommit), kOtherCommit);
  EXPECT_TRUE(open_checkpoint("org/tiny.v1")->contains("a"));
}

TEST_F(HubCache, StandsWhereTheVariablesSay) {
  const auto expect_found_in = [&](const fs::path& cache, const std::string& commit) {
    write_snapshot(cache, commit);
    write_reference(cache, "main", commit);
    EXPECT_EQ(opened("org/tiny.v1"), commit);
  };
  // Each of them wins over those before.
  expect_found_in(default_cache(), std::string(40, '1'));
  ::setenv("XDG_CACHE_HOME", (home_ / "xdg").c_str(), 1);
  expect_found_in(home_ / "xdg/huggingface/hub", std::string(40, '2'));
  ::setenv("HF_HOME", "~/hf", 1);
  expect_found_in(home_ / "hf/hub", std::string(40, '3'));
  ::setenv("HF_HUB_CACHE", (home_ / "models").c_str(), 1);
  expect_found_in(home_ / "models", std::string(40, '4'));
}

TEST_F(HubCache, AMissingModelIsAnErrorWithTheCommandThatDownloadsIt) {
  expect_error("org/tiny.v1",
               AllOf(HasSubstr("no model at \"org/tiny.v1\""), HasSubstr(default_cache().string()),
                     HasSubstr("hf download org/tiny.v1;")));
  write_snapshot(default_cache(), kCommit);
  write_reference(default_cache(), "main", kCommit);
  expect_error("org/tiny.v1@v2", HasSubstr("hf download org/tiny.v1 --revision v2;"));
  expect_error("org/tiny.v1@" + kOtherCommit, HasSubstr("--revision " + kOtherCommit));
  write_reference(default_cache(), "main", kOtherCommit);
  expect_error("org/tiny.v1", HasSubstr("hf download org/tiny.v1;"));
}

TEST_F(HubCache, AnIncompleteDownloadIsCompletedByTheSameCommand) {
  write_snapshot(default_cache(), kCommit, /*with_weights=*/false);
  write_reference(default_cache(), "main", kCommit);
  expect_error("org/tiny.v1",
               AllOf(HasSubstr("no weights in"), HasSubstr("hf download org/tiny.v1")));
}

TEST_F(HubCache, AMissingFileOfALocalFolderIsNoHubName) {
  const fs::path before = fs::current_path();
  fs::create_directories(home_ / "models");
  fs::current_path(home_.path());
  expect_error("models/tiny.v1", AllOf(HasSubstr("no such file"), Not(HasSubstr("hf download"))));
  fs::current_path(before);
}

TEST_F(HubCache, NothingLeadsOutOfTheCache) {
  write_snapshot(default_cache(), kCommit);
  write_reference(default_cache(), "main", "../../..");
  expect_error("org/tiny.v1", HasSubstr("does not hold a commit"));
  for (const char* name : {"org/..", "../tiny.v1", "org/tiny.v1@../main", "org/tiny.v1@/etc",
                           "org/tiny.v1@", "org/a/b", "o--rg/tiny.v1", "tiny", "org/ti ny"}) {
    expect_error(name, AllOf(HasSubstr("no such file"), Not(HasSubstr("hf download"))));
  }
}

}  // namespace
}  // namespace nibble::io
