// Detects a transfer that does not end: a client that has stopped reading, a request that does not
// come.
#ifndef SKIPSTREAM_SERVER_RPC_WRITE_WATCHDOG_H_
#define SKIPSTREAM_SERVER_RPC_WRITE_WATCHDOG_H_

#include <grpcpp/alarm.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/time/time.h"
#include "base/clock.h"

namespace skipstream {

// Ends stalled writes. A peer that answers pings but takes nothing would keep its call, and the
// call's share of the server's bounds, for ever: gRPC waits for it. Thread-safe; owned by shared
// pointers only.
class WriteWatchdog : public std::enable_shared_from_this<WriteWatchdog> {
 public:
  // Calls `give_up`, on a thread of gRPC, when a write has been under way for `timeout`. It must
  // not call back.
  WriteWatchdog(absl::Duration timeout, std::function<void()> give_up)
      : timeout_(timeout), give_up_(std::move(give_up)) {}

  // Mark the begin and the end of a write; one at a time.
  void WriteStarted();
  void WriteEnded();

  // Stops: once this has returned, `give_up` is not called any more.
  void Stop();

 private:
  void Arm(absl::Duration wait);  // needs mutex_
  void OnAlarm();

  const RealClock clock_;  // as the alarm's
  const absl::Duration timeout_;
  const std::function<void()> give_up_;
  std::mutex mutex_;
  std::optional<absl::Time> started_;  // time of the write under way
  // Set while there is something to wait for, and on for up to `timeout_`, so that it is not set
  // for every write.
  std::unique_ptr<grpc::Alarm> alarm_;
  bool stopped_ = false;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_WRITE_WATCHDOG_H_
