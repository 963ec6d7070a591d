#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/io/staged_directory.h>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <system_error>
#include <unistd.h>

namespace nibble::io {
namespace {

namespace fs = std::filesystem;

/// Files of a Hugging Face directory that belong to the text side, copied as they are.
constexpr const char* kTextFiles[] = {"tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "tokenizer.model",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "generation_config.json"};

void flush_directory(const fs::path& directory) {
  const int descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool flushed = descriptor >= 0 && fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  NIBBLE_CHECK(flushed, "cannot flush ", directory.string(), ": ", std::strerror(error));
}

}  // namespace

StagedDirectory::StagedDirectory(const fs::path& target) : target_(fs::absolute(target)) {
  if (!target_.has_filename()) target_ = target_.parent_path();
  NIBBLE_CHECK(!fs::exists(target_) || (fs::is_directory(target_) && fs::is_empty(target_)),
               target_.string(), " exists already; a checkpoint is written to a new directory");
  path_ = target_;
  path_ += ".tmp." + std::to_string(getpid());
  fs::remove_all(path_);
  fs::create_directories(path_);
}

StagedDirectory::~StagedDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void StagedDirectory::publish() const {
  flush_directory(path_);
  fs::rename(path_, target_);
  flush_directory(target_.parent_path());
}

void copy_text_files(const Checkpoint& source, const fs::path& target) {
  if (fs::is_directory(source.path())) {
    for (const char* name : kTextFiles) {
      if (!fs::exists(source.path() / name)) continue;
      write_file_atomically(target / name, read_text_file(source.path() / name));
    }
    return;
  }
  write_file_atomically(target / "tokenizer.json", source.tokenizer_json());
  write_json_file(target / "tokenizer_config.json", source.tokenizer_config());
  write_json_file(target / "generation_config.json", source.generation_config());
  if (const auto chat_template = source.chat_template()) {
    write_file_atomically(target / "chat_template.jinja", *chat_template);
  }
}

}  // namespace nibble::io
