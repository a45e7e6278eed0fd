#include "server/security/confined_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace skipstream {

ConfinedFile::ConfinedFile(int fd, std::string real_directory)
    : fd_(fd), real_directory_(std::move(real_directory)) {}

ConfinedFile::ConfinedFile(ConfinedFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), real_directory_(std::move(other.real_directory_)) {}

ConfinedFile& ConfinedFile::operator=(ConfinedFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(real_directory_, other.real_directory_);
  return *this;
}

ConfinedFile::~ConfinedFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<ConfinedFile> ConfinedFile::Find(const std::string& directory,
                                                const std::string& name) {
  absl::Status not_there = absl::NotFoundError(absl::StrCat("there is no file ", name));
  std::error_code error;
  const std::filesystem::path real_directory = std::filesystem::canonical(directory, error);
  if (error) return not_there;
  // O_PATH opens nothing: a pipe does not block and a device does not notice.
  const int fd = open((real_directory / name).c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) {
    const bool absent = errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
                        errno == ENAMETOOLONG || errno == EACCES;
    return absent ? not_there : absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", name));
  }
  ConfinedFile file(fd, real_directory == real_directory.root_path()
                            ? real_directory.string()
                            : absl::StrCat(real_directory.string(), "/"));
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return not_there;
  // Asked of the descriptor, not of the name, which may lead elsewhere by now.
  const std::filesystem::path real_file = std::filesystem::read_symlink(file.path(), error);
  if (error || !absl::StartsWith(real_file.string(), file.real_directory_)) return not_there;
  return file;
}

std::string ConfinedFile::path() const { return absl::StrCat("/proc/self/fd/", fd_); }

}  // namespace skipstream
