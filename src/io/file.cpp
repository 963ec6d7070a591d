#include <nibble/core/error.h>
#include <nibble/io/atomic_file.h>
#include <nibble/io/file.h>

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

std::string last_error() { return std::system_category().message(errno); }

/// An open file descriptor.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC)) {
    NIBBLE_CHECK(fd_ >= 0, "cannot open ", path.string(), ": ", last_error());
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }
  int get() const { return fd_; }

 private:
  int fd_;
};

void sync(const fs::path& path, int flags) {
  const Descriptor descriptor(path, flags);
  NIBBLE_CHECK(::fsync(descriptor.get()) == 0, "cannot write ", path.string(),
               " to the disk: ", last_error());
}

}  // namespace

struct MappedFile::Mapping {
  explicit Mapping(fs::path file) : path(std::move(file)) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (size != 0) ::munmap(address, size);
  }

  fs::path path;
  void* address = nullptr;
  size_t size = 0;
};

MappedFile::MappedFile(const fs::path& path) {
  // O_NONBLOCK: opening a FIFO must fail below, not wait for a writer.
  const Descriptor descriptor(path, O_RDONLY | O_NONBLOCK);
  struct stat status {};
  NIBBLE_CHECK(::fstat(descriptor.get(), &status) == 0, "cannot read ", path.string(), ": ",
               last_error());
  NIBBLE_CHECK(S_ISREG(status.st_mode), path.string(), " is not a regular file");
  auto mapping = std::make_shared<Mapping>(path);
  if (const size_t size = static_cast<size_t>(status.st_size); size != 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
    NIBBLE_CHECK(address != MAP_FAILED, "cannot map ", path.string(), " (", size,
                 " bytes): ", last_error());
    mapping->address = address;
    mapping->size = size;
  }
  mapping_ = std::move(mapping);
}

std::span<const std::byte> MappedFile::bytes() const {
  return {static_cast<const std::byte*>(mapping_->address), mapping_->size};
}

const fs::path& MappedFile::path() const { return mapping_->path; }

std::shared_ptr<const void> MappedFile::owner() const { return mapping_; }

bool path_exists(const fs::path& path) {
  std::error_code refused;
  return fs::exists(path, refused);
}

std::string read_text_file(const fs::path& path) {
  std::error_code refused;
  NIBBLE_CHECK(!fs::is_directory(path, refused), "cannot read ", path.string(),
               ": it is a directory");
  std::ifstream in(path, std::ios::binary);
  NIBBLE_CHECK(in, "cannot open ", path.string(), ": ", last_error());
  std::ostringstream text;
  if (in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  NIBBLE_CHECK(!in.bad() && text, "cannot read ", path.string(), ": ", last_error());
  return std::move(text).str();
}

AtomicFile::AtomicFile(const fs::path& path) : path_(path), temporary_(path) {
  NIBBLE_CHECK(path.has_filename(), "cannot write ", path.string(), ": it names no file");
  temporary_ += ".tmp." + std::to_string(::getpid());
  stream_.open(temporary_, std::ios::binary | std::ios::trunc);
  NIBBLE_CHECK(stream_, "cannot create ", temporary_.string(), ": ", last_error());
}

AtomicFile::~AtomicFile() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove(temporary_, ignored);
}

void AtomicFile::commit() {
  stream_.close();
  NIBBLE_CHECK(stream_, "cannot write ", temporary_.string(), ": ", last_error());
  sync(temporary_, O_RDONLY);
  NIBBLE_CHECK(::rename(temporary_.c_str(), path_.c_str()) == 0, "cannot rename ",
               temporary_.string(), " to ", path_.string(), ": ", last_error());
  temporary_.clear();
  const fs::path folder = path_.parent_path();
  sync(folder.empty() ? fs::path(".") : folder, O_RDONLY | O_DIRECTORY);
}

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  AtomicFile file(path);
  write(file.stream());
  file.commit();
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  write_file_atomically(path, [content](std::ostream& out) {
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
  });
}

}  // namespace nibble::io
