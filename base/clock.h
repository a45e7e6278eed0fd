#ifndef SKIPSTREAM_BASE_CLOCK_H_
#define SKIPSTREAM_BASE_CLOCK_H_

#include <chrono>

#include "absl/time/time.h"

namespace skipstream {

// Tells time for durations, deadlines and order. It has nothing to do with the time of day, which
// can be set: its times begin anywhere, and only their differences mean something.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;  // thread-safe
};

class RealClock final : public Clock {
 public:
  absl::Time Now() const override {
    return absl::UnixEpoch() +
           absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_CLOCK_H_
