#include "model/files/safetensors.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "model/files/safetensors_header.h"

namespace skipstream {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr size_t kHashChunkBytes = 1 << 20;

absl::Status WithFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      written_(other.written_),
      tensors_(std::move(other.tensors_)),
      metadata_(std::move(other.metadata_)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(written_, other.written_);
  std::swap(tensors_, other.tensors_);
  std::swap(metadata_, other.metadata_);
  return *this;
}

SafetensorsFile::~SafetensorsFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  // Not blocking: opening a pipe nobody writes to must not hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  SafetensorsFile file(path, fd);
  struct stat info;
  if (fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  file.size_ = static_cast<uint64_t>(info.st_size);
  file.written_ = info.st_mtim;
  if (absl::Status status = file.ParseHeader(); !status.ok()) return WithFile(path, status);
  return file;
}

absl::Status SafetensorsFile::ParseHeader() {
  if (size_ < kLengthBytes) {
    return absl::InvalidArgumentError("too short for the 8-byte header length");
  }
  unsigned char raw[kLengthBytes];
  if (absl::Status status = ReadAt(0, absl::MakeSpan(reinterpret_cast<char*>(raw), kLengthBytes));
      !status.ok()) {
    return status;
  }
  uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i) length = length << 8 | raw[i];
  if (length > kMaxHeaderBytes || length > size_ - kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("header length ", length, " exceeds ",
                     length > kMaxHeaderBytes ? absl::StrCat("the limit of ", kMaxHeaderBytes)
                                              : absl::StrCat("the file (", size_, " bytes)")));
  }
  std::string json(length, '\0');
  if (absl::Status status = ReadAt(kLengthBytes, absl::MakeSpan(json.data(), json.size()));
      !status.ok()) {
    return status;
  }
  const uint64_t data_start = kLengthBytes + length;
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(json, size_ - data_start);
  if (!header.ok()) return header.status();
  tensors_ = std::move(header->tensors);
  metadata_ = std::move(header->metadata);
  for (auto& [name, entry] : tensors_) entry.offset += data_start;
  return absl::OkStatus();
}

absl::Status SafetensorsFile::ReadAt(uint64_t offset, absl::Span<char> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, "cannot read");
    if (got == 0) return absl::DataLossError("the file became shorter while it was read");
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status SafetensorsFile::Read(const SafetensorsEntry& entry, absl::Span<char> out) const {
  if (out.size() != entry.bytes) {
    return absl::InternalError(
        absl::StrCat(path_, ": buffer of ", out.size(), " bytes for ", entry.bytes));
  }
  return ReadPart(entry, 0, out);
}

absl::Status SafetensorsFile::ReadPart(const SafetensorsEntry& entry, uint64_t first,
                                       absl::Span<char> out) const {
  if (first > entry.bytes || out.size() > entry.bytes - first) {
    return absl::InternalError(absl::StrCat(path_, ": ", out.size(), " bytes from ", first,
                                            " of a tensor of ", entry.bytes));
  }
  absl::Status status = ReadAt(entry.offset + first, out);
  return status.ok() ? status : WithFile(path_, status);
}

absl::Status SafetensorsFile::CheckUnchanged() const {
  struct stat info;
  if (fstat(fd_, &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path_));
  if (static_cast<uint64_t>(info.st_size) == size_ && info.st_mtim.tv_sec == written_.tv_sec &&
      info.st_mtim.tv_nsec == written_.tv_nsec) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat(path_, ": the file was changed while it was read"));
}

absl::StatusOr<std::string> SafetensorsFile::Sha256(const std::stop_token& stop) const {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("SHA-256 is not available");
  }
  std::string chunk(std::min<uint64_t>(kHashChunkBytes, size_), '\0');
  for (uint64_t offset = 0; offset < size_;) {
    if (stop.stop_requested()) return absl::CancelledError(absl::StrCat(path_, ": not hashed"));
    const size_t count = std::min<uint64_t>(chunk.size(), size_ - offset);
    if (absl::Status status = ReadAt(offset, absl::MakeSpan(chunk.data(), count)); !status.ok()) {
      return WithFile(path_, status);
    }
    EVP_DigestUpdate(context.get(), chunk.data(), count);
    offset += count;
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(context.get(), digest, &length);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), length));
}

}  // namespace skipstream
