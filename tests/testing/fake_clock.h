// A clock that stands still until a test moves it.
#ifndef SKIPSTREAM_TESTS_TESTING_FAKE_CLOCK_H_
#define SKIPSTREAM_TESTS_TESTING_FAKE_CLOCK_H_

#include <mutex>

#include "absl/time/time.h"
#include "base/clock.h"

namespace skipstream {

// Thread-safe.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override {
    std::lock_guard lock(mutex_);
    return now_;
  }

  void Advance(absl::Duration duration) {
    std::lock_guard lock(mutex_);
    now_ += duration;
  }

 private:
  mutable std::mutex mutex_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_FAKE_CLOCK_H_
