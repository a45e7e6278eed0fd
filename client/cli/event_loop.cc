#include "client/cli/event_loop.h"

#include <chrono>
#include <utility>

#include "absl/time/clock.h"

namespace skipstream::cli {

void EventLoop::Post(std::function<void()> event) {
  // Notified under the lock: the loop may be gone as soon as its last event was taken.
  std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  posted_.notify_one();
}

void EventLoop::RunUntil(absl::FunctionRef<bool()> done, absl::Duration tick,
                         absl::FunctionRef<void()> on_tick) {
  absl::Time next_tick = absl::Now() + tick;
  while (!done()) {
    std::function<void()> event;
    {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return !events_.empty(); };
      if (tick == absl::InfiniteDuration()) {
        posted_.wait(lock, ready);
      } else {
        posted_.wait_for(lock, absl::ToChronoNanoseconds(next_tick - absl::Now()), ready);
      }
      if (!events_.empty()) {
        event = std::move(events_.front());
        events_.pop_front();
      }
    }
    if (event) event();
    if (absl::Now() >= next_tick) {
      on_tick();
      next_tick = absl::Now() + tick;
    }
  }
}

}  // namespace skipstream::cli
