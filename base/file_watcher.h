#ifndef SKIPSTREAM_BASE_FILE_WATCHER_H_
#define SKIPSTREAM_BASE_FILE_WATCHER_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace skipstream {

// Certificates and the like; nobody needs more.
inline constexpr size_t kMaxWatchedFileBytes = size_t{16} << 20;

// The files, in their order. An error names the file.
absl::StatusOr<std::vector<std::string>> ReadWatchedFiles(const std::vector<std::string>& paths);

// Reads files again and again and hands them over when what is in them has changed. Contents, not
// times: secrets are mounted as links to directories that are swapped, and clocks have steps.
class FileWatcher {
 public:
  struct Watch {
    std::string what;                // in the log, e.g. "--auth_file"
    std::vector<std::string> paths;  // they belong together
    // What was read at the start and is in force.
    std::vector<std::string> contents;
    // Called on the watcher's thread with the new contents. An error leaves in force what was.
    std::function<absl::Status(const std::vector<std::string>&)> apply;
  };

  // Reports on the watcher's thread that new contents are in force (OK), or why they are not; the
  // same error about the same contents once.
  using Report = std::function<void(const std::string& what, const absl::Status& status)>;

  // Without watches there is no thread.
  FileWatcher(std::vector<Watch> watches, absl::Duration interval, Report report);
  ~FileWatcher();

  // Makes the thread read the files now instead of at the end of the interval. Does not wait for
  // it.
  void CheckSoon();

 private:
  void Run();
  void Check(Watch& watch, std::string& last_error);

  const absl::Duration interval_;
  const Report report_;
  std::vector<Watch> watches_;  // of the thread
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool check_soon_ = false;
  std::thread thread_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_FILE_WATCHER_H_
