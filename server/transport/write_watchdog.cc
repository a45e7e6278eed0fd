#include "server/transport/write_watchdog.h"

#include <utility>

#include "absl/time/clock.h"

namespace skipstream {

void WriteWatchdog::WriteStarted() {
  std::lock_guard lock(mutex_);
  started_ = absl::Now();
  if (alarm_ == nullptr && !stopped_) Arm(*started_ + timeout_);
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

void WriteWatchdog::Arm(absl::Time until) {
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(absl::ToChronoTime(until),
              [self = shared_from_this()](bool /*elapsed*/) { self->OnAlarm(); });
}

void WriteWatchdog::OnAlarm() {
  std::unique_ptr<grpc::Alarm> elapsed;  // gone after the lock
  std::lock_guard lock(mutex_);
  elapsed = std::move(alarm_);
  if (stopped_ || !started_) return;
  if (absl::Now() < *started_ + timeout_) {
    Arm(*started_ + timeout_);
    return;
  }
  stopped_ = true;
  give_up_();
}

}  // namespace skipstream
