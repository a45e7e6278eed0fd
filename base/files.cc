#include "base/files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // as the kernel has it
constexpr std::chrono::seconds kPatienceWithReaders(5);
constexpr mode_t kNewFile = 0666;
constexpr mode_t kOwnerOnly = 0600;

absl::Status CannotWrite(const std::string& path, int error) {
  const char* why = error == ENXIO ? "nobody reads from it" : strerror(error);
  return absl::InternalError(absl::StrCat("cannot write ", path, ": ", why));
}

// Writes and closes. Some file systems report lost data only then.
int WriteAndClose(int fd, absl::string_view data) {
  const int error = WriteAll(fd, data);
  const int close_error = close(fd) == 0 ? 0 : errno;
  return error != 0 ? error : close_error;
}

// A named pipe can be opened once somebody reads from it, who may be about to start.
int Overwrite(const std::string& path, absl::string_view data) {
  const auto give_up = std::chrono::steady_clock::now() + kPatienceWithReaders;
  for (;;) {
    const int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0) return WriteAndClose(fd, data);
    const int error = errno;
    std::error_code ignored;
    const bool nobody_yet = error == ENXIO && fs::is_fifo(path, ignored);
    if (!nobody_yet || std::chrono::steady_clock::now() > give_up) return error;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

fs::path FolderOf(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// A link of /proc leads to an open file, which need not have a name.
bool IsLinkToOpenFile(const fs::path& link) {
  struct statfs status;
  return statfs(FolderOf(link).c_str(), &status) == 0 && status.f_type == PROC_SUPER_MAGIC;
}

// The descriptor of this process that `link` names; -1: none.
int DescriptorOf(const fs::path& link) {
  int descriptor = -1;
  std::error_code error;
  const bool ours = fs::canonical(FolderOf(link), error) == fs::canonical("/proc/self/fd", error);
  if (!ours || error || !absl::SimpleAtoi(link.filename().string(), &descriptor)) return -1;
  return descriptor;
}

// Copies mode and owner. If the file cannot be given away, its mode grants nobody more than before.
void KeepOwnerAndMode(int fd, const struct stat& old) {
  mode_t mode = old.st_mode & 07777;
  if (fchown(fd, old.st_uid, old.st_gid) != 0) {
    mode &= ~(S_ISUID | S_ISGID);
    if (fchown(fd, static_cast<uid_t>(-1), old.st_gid) != 0) {
      mode &= ~S_IRWXG | (mode & S_IRWXO) << 3;
    }
  }
  (void)fchmod(fd, mode);  // file systems without modes have nothing to keep
}

}  // namespace

// The file that a name stands for, links followed.
struct FileWriter::Target {
  fs::path path;
  bool replaced = false;           // a regular file, or none yet
  std::optional<struct stat> old;  // of the file that is replaced
  int descriptor = -1;             // of this process
  int error = 0;                   // of finding out

  static Target Of(fs::path path) {
    Target target;
    for (int links = 0; links <= kMaxLinks; ++links) {
      target.path = path;
      struct stat status;
      if (lstat(path.c_str(), &status) != 0) {
        target.replaced = true;
        if (errno != ENOENT) target.error = errno;
        return target;
      }
      if (S_ISREG(status.st_mode)) {
        target.replaced = true;
        target.old = status;
        return target;
      }
      if (!S_ISLNK(status.st_mode)) return target;
      if (IsLinkToOpenFile(path)) {
        target.descriptor = DescriptorOf(path);
        return target;
      }
      std::error_code error;
      const fs::path next = fs::read_symlink(path, error);
      if (error) {
        target.error = error.value();
        return target;
      }
      path = FolderOf(path) / next;  // `next` itself if that is absolute
    }
    target.error = ELOOP;
    return target;
  }
};

int WriteAll(int fd, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written = write(fd, data.data(), data.size());
    if (written >= 0) {
      data.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd ready = {.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": it is a folder"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", strerror(errno)));
  std::string data;
  std::array<char, 1 << 16> chunk;
  while (in.read(chunk.data(), chunk.size()) || in.gcount() > 0) {
    data.append(chunk.data(), static_cast<size_t>(in.gcount()));
    if (data.size() > max_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot read ", path, ": it is larger than ", max_bytes, " bytes"));
    }
  }
  if (in.bad()) return absl::InternalError(absl::StrCat("cannot read ", path));
  return data;
}

void SkipByteOrderMark(std::string& text) {
  if (absl::StartsWith(text, "\xef\xbb\xbf")) text.erase(0, 3);
}

absl::Status CheckFolderOf(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  std::error_code error;
  if (folder.empty() || fs::is_directory(folder, error)) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("cannot write ", path, ": the folder ", folder.string(), " does not exist"));
}

absl::Status FileWriter::Write(const std::string& path, absl::string_view data) {
  if (absl::Status status = CheckFolderOf(path); !status.ok()) return status;
  const Target target = Target::Of(path);
  int error = target.error;
  if (error == 0) {
    if (target.replaced) {
      error = Replace(target, data);
    } else if (target.descriptor >= 0) {
      // Opening it anew would start at the beginning of the file again.
      const int fd = fcntl(target.descriptor, F_DUPFD_CLOEXEC, 0);
      error = fd < 0 ? errno : WriteAndClose(fd, data);
    } else {
      error = Overwrite(target.path, data);
    }
  }
  return error == 0 ? absl::OkStatus() : CannotWrite(path, error);
}

int FileWriter::MakeTemporary(const std::string& folder, unsigned mode) {
  std::random_device random;
  std::lock_guard lock(mutex_);
  if (abandoned_) {
    errno = ECANCELED;
    return -1;
  }
  int fd = -1;
  do {
    // Short: the target's name may be as long as a name can be.
    temporary_ = absl::StrCat(folder, "/.skipstream-", absl::Hex(random(), absl::kZeroPad8));
    fd = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EEXIST);
  if (fd < 0) temporary_.clear();
  return fd;
}

int FileWriter::Replace(const Target& target, absl::string_view data) {
  // A file that nobody may write to is not replaced either.
  const char* name = target.path.c_str();
  if (target.old && faccessat(AT_FDCWD, name, W_OK, AT_EACCESS) != 0) return errno;
  if (target.old && target.old->st_nlink > 1) return Overwrite(target.path, data);
  const int fd = MakeTemporary(FolderOf(target.path), target.old ? kOwnerOnly : kNewFile);
  if (fd < 0) {
    const bool not_here = errno == EACCES || errno == EPERM || errno == EROFS;
    return target.old && not_here ? Overwrite(target.path, data) : errno;
  }
  if (target.old) KeepOwnerAndMode(fd, *target.old);
  int error = WriteAndClose(fd, data);

  std::unique_lock lock(mutex_);
  const std::string temporary = std::exchange(temporary_, "");
  if (error == 0 && rename(temporary.c_str(), name) == 0) return 0;
  if (error == 0) error = errno;
  unlink(temporary.c_str());
  lock.unlock();
  // A mount point stays, and so does another's file in a folder with the sticky bit.
  const bool stays = error == EBUSY || error == EPERM || error == EACCES;
  return target.old && stays ? Overwrite(target.path, data) : error;
}

void FileWriter::Abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

}  // namespace skipstream
