#include "server/rpc/write_watchdog.h"

#include <grpc/support/time.h>

#include <utility>

namespace skipstream {

void WriteWatchdog::WriteStarted() {
  std::lock_guard lock(mutex_);
  started_ = clock_.Now();
  if (alarm_ == nullptr && !stopped_) Arm(timeout_);
}

void WriteWatchdog::WriteEnded() {
  std::lock_guard lock(mutex_);
  started_.reset();
}

void WriteWatchdog::Stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  if (alarm_ != nullptr) alarm_->Cancel();
}

void WriteWatchdog::Arm(absl::Duration wait) {
  alarm_ = std::make_unique<grpc::Alarm>();
  const gpr_timespec span = gpr_time_from_nanos(absl::ToInt64Nanoseconds(wait), GPR_TIMESPAN);
  alarm_->Set(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), span),
              [self = shared_from_this()](bool /*elapsed*/) { self->OnAlarm(); });
}

void WriteWatchdog::OnAlarm() {
  std::unique_ptr<grpc::Alarm> elapsed;  // gone after the lock
  std::lock_guard lock(mutex_);
  elapsed = std::move(alarm_);
  if (stopped_ || !started_) return;
  const absl::Duration left = *started_ + timeout_ - clock_.Now();
  if (left > absl::ZeroDuration()) {
    Arm(left);
    return;
  }
  stopped_ = true;
  give_up_();
}

}  // namespace skipstream
