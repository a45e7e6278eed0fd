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

// Limits a watched file, such as a certificate; none needs more.
inline constexpr size_t kMaxWatchedFileBytes = size_t{16} << 20;

// Reads the files and returns their contents in the same order. An error names the file.
absl::StatusOr<std::vector<std::string>> ReadWatchedFiles(const std::vector<std::string>& paths);

// Reads files at intervals and hands their contents over when they have changed. It compares
// contents, not times: secrets are mounted as links to directories that are swapped, and clocks
// have steps.
class FileWatcher {
 public:
  struct Watch {
    std::string what;                // in the log, e.g. "--auth_file"
    std::vector<std::string> paths;  // they belong together
    // Contents that were read at the start and are in force.
    std::vector<std::string> contents;
    // Called on the watcher's thread with the new contents. An error keeps the previous contents in
    // force.
    std::function<absl::Status(const std::vector<std::string>&)> apply;
  };

  // Called on the watcher's thread when new contents are in force (OK), or with the reason why they
  // are not. The same error about the same contents is reported once.
  using Report = std::function<void(const std::string& what, const absl::Status& status)>;

  // Starts no thread if there are no watches.
  FileWatcher(std::vector<Watch> watches, absl::Duration interval, Report report);
  ~FileWatcher();

  // Makes the thread read the files now instead of at the end of the interval. Returns at once.
  void CheckSoon();

 private:
  void Run();
  void Check(Watch& watch, std::string& last_error);

  const absl::Duration interval_;
  const Report report_;
  std::vector<Watch> watches_;  // used by the thread only
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool check_soon_ = false;
  std::thread thread_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_FILE_WATCHER_H_
