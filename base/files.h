#ifndef SKIPSTREAM_BASE_FILES_H_
#define SKIPSTREAM_BASE_FILES_H_

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace skipstream {

// The most that is read of a file: more than any image of a server has.
inline constexpr uint64_t kMaxFileBytes = 64 << 20;

// InvalidArgument for a folder and for more than `max_bytes`, of which no more is read: a device or
// a pipe may have no end.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes = kMaxFileBytes);

// Writes all of `data` to a file descriptor, also to one that does not block. Returns 0 or errno.
int WriteAll(int fd, absl::string_view data);

// Removes the byte order mark (EF BB BF) that some editors put before text.
void SkipByteOrderMark(std::string& text);

// NotFound if the folder that is to hold `path` does not exist: known before hours of work are
// lost.
absl::Status CheckFolderOf(const std::string& path);

// Writes whole files, one at a time.
//
// A regular file is replaced through a temporary file beside it, and so is one that does not exist
// yet: the name has either what it had before or all of the data. Symbolic links are followed.
// Mode and, where the system permits it, owner and group of a replaced file stay. Where no
// temporary file can be made or take its place (a folder that is not writable, a file mounted by
// itself), and where the file has other names (hard links), the old file is overwritten, as cp
// does. Devices, pipes and open descriptors
// (/dev/stdout, /dev/fd/N) are written to as they are; a named pipe has five seconds to get a
// reader.
class FileWriter {
 public:
  absl::Status Write(const std::string& path, absl::string_view data);

  // Removes the temporary file of a Write() that will not end; later ones fail. Any thread.
  void Abandon();

 private:
  struct Target;
  int Replace(const Target& target, absl::string_view data);
  int MakeTemporary(const std::string& folder, unsigned mode);

  std::mutex mutex_;
  std::string temporary_;   // guarded by mutex_; empty while there is none
  bool abandoned_ = false;  // guarded by mutex_
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_FILES_H_
