// Defines the time by which a call must end.
#ifndef SKIPSTREAM_CLIENT_CC_DEADLINE_H_
#define SKIPSTREAM_CLIENT_CC_DEADLINE_H_

#include <chrono>
#include <optional>

#include "absl/time/time.h"

namespace skipstream::client {

// Holds a moment on the monotonic clock: setting the wall clock moves no deadline.
class Deadline {
 public:
  // Never passes.
  Deadline() = default;

  // Returns a deadline that passes after `timeout`, or never if that is a century or more, beyond
  // the range of gRPC's clocks.
  static Deadline In(absl::Duration timeout) {
    Deadline deadline;
    if (timeout < absl::Hours(24 * 365 * 100)) {
      deadline.end_ = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
    }
    return deadline;
  }

  bool never() const { return !end_.has_value(); }

  // Returns the time left: infinite if it never passes, negative once it has passed.
  absl::Duration Left() const {
    if (never()) return absl::InfiniteDuration();
    return absl::FromChrono(*end_ - std::chrono::steady_clock::now());
  }

 private:
  std::optional<std::chrono::steady_clock::time_point> end_;
};

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_DEADLINE_H_
