#ifndef SKIPSTREAM_BASE_LOG_LIMITER_H_
#define SKIPSTREAM_BASE_LOG_LIMITER_H_

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace skipstream {

// Limits the log lines per interval, so that a client that causes them cannot fill a disk.
// Thread-safe.
class LogLimiter {
 public:
  LogLimiter(int max_lines, absl::Duration interval) : max_lines_(max_lines), interval_(interval) {}

  // Returns nothing if the line must not be written. Otherwise returns the number of lines
  // suppressed since the last one that was written. `now` is monotonic.
  std::optional<int64_t> Ask(absl::Time now) {
    std::lock_guard lock(mutex_);
    if (now - begin_ >= interval_) {
      begin_ = now;
      lines_ = 0;
    }
    if (lines_ == max_lines_) {
      ++suppressed_;
      return std::nullopt;
    }
    ++lines_;
    return std::exchange(suppressed_, 0);
  }

 private:
  const int max_lines_;
  const absl::Duration interval_;
  std::mutex mutex_;
  absl::Time begin_ = absl::InfinitePast();
  int lines_ = 0;
  int64_t suppressed_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_LOG_LIMITER_H_
