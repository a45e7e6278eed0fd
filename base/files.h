#ifndef SKIPSTREAM_BASE_FILES_H_
#define SKIPSTREAM_BASE_FILES_H_

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace skipstream {

// Limits the bytes that ReadFile() reads of a file; no image of a server is larger.
inline constexpr uint64_t kMaxFileBytes = 64 << 20;

// Returns the contents of a file. InvalidArgument for a folder, and for a file of more than
// `max_bytes`; no more than that is read, since a device or a pipe may have no end.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes = kMaxFileBytes);

// Writes all of `data` to a file descriptor, also to one that does not block. Returns 0 or errno.
int WriteAll(int fd, absl::string_view data);

// Removes the byte order mark (EF BB BF) that some editors put before text.
void SkipByteOrderMark(std::string& text);

// Returns NotFound if the folder that is to hold `path` does not exist. Called before the work
// whose result goes there, so that hours of it are not lost.
absl::Status CheckFolderOf(const std::string& path);

// Writes whole files, one at a time.
//
// A regular file is replaced through a temporary file beside it, and so is one that does not exist
// yet. The name thus has either its previous content or all of the data. Symbolic links are
// followed. Mode and, where the system permits it, owner and group of a replaced file stay. The old
// file is overwritten, as cp does, where no temporary file can be made or take its place (a
// read-only folder, a file mounted by itself). So is a file with other names (hard links). Devices,
// pipes and open descriptors (/dev/stdout, /dev/fd/N) are written to directly; a named pipe has
// five seconds until somebody must have opened it for reading.
class FileWriter {
 public:
  absl::Status Write(const std::string& path, absl::string_view data);

  // Removes the temporary file of a Write() that will not end, and makes later ones fail. Any
  // thread may call it.
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
