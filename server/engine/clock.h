// Injected time.
#ifndef SKIPSTREAM_SERVER_ENGINE_CLOCK_H_
#define SKIPSTREAM_SERVER_ENGINE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace skipstream {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;  // thread-safe
};

class RealClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_CLOCK_H_
