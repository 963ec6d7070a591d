#pragma once

#include <nibble/io/checkpoint.h>

#include <filesystem>

namespace nibble::io {

/// A new directory that appears under its name whole or not at all: files are written below path(),
/// a temporary sibling; publish() flushes and renames it. Without publish() it disappears again.
class StagedDirectory {
 public:
  /// Throws Error when `target` exists and is not an empty directory.
  explicit StagedDirectory(const std::filesystem::path& target);
  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void publish() const;

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
};

/// Writes the text side of `source` (tokenizer, chat template, generation settings) into `target`.
/// Files of a Hugging Face directory are copied unchanged.
void copy_text_files(const Checkpoint& source, const std::filesystem::path& target);

}  // namespace nibble::io
