#ifndef SKIPSTREAM_BASE_CALL_COUNTER_H_
#define SKIPSTREAM_BASE_CALL_COUNTER_H_

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

namespace skipstream {

// Counts the accepted calls that have not ended, so that a drain can wait for them. Thread-safe.
class CallCounter {
 public:
  void Enter() {
    std::lock_guard lock(mutex_);
    ++calls_;
  }
  void Leave() {
    std::lock_guard lock(mutex_);
    if (--calls_ == 0) none_.notify_all();
  }
  // Blocks until no call is left or `timeout` has passed; returns the number of calls left.
  int WaitForNone(absl::Duration timeout) {
    // Bounded, so that std::chrono can add it to the time.
    const auto wait = absl::ToChronoNanoseconds(std::min(timeout, absl::Hours(24)));
    std::unique_lock lock(mutex_);
    none_.wait_for(lock, wait, [this] { return calls_ == 0; });
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  int calls_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_CALL_COUNTER_H_
