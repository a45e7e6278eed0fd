#include "client/cli/commands/event_loop.h"

#include <chrono>
#include <utility>

namespace skipstream::cli {

void EventLoop::Post(std::function<void()> event) {
  // Notified under the lock: the loop may be gone as soon as its last event was taken.
  std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  posted_.notify_one();
}

void EventLoop::RunUntil(absl::FunctionRef<bool()> done, absl::Duration tick,
                         absl::FunctionRef<void()> on_tick) {
  using Clock = std::chrono::steady_clock;
  const bool ticks = tick != absl::InfiniteDuration();
  const auto period = ticks ? absl::ToChronoNanoseconds(tick) : std::chrono::nanoseconds(0);
  Clock::time_point next_tick = Clock::now() + period;
  while (!done()) {
    std::function<void()> event;
    {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return !events_.empty(); };
      if (ticks) {
        posted_.wait_until(lock, next_tick, ready);
      } else {
        posted_.wait(lock, ready);
      }
      if (!events_.empty()) {
        event = std::move(events_.front());
        events_.pop_front();
      }
    }
    if (event) event();
    if (ticks && Clock::now() >= next_tick) {
      on_tick();
      next_tick = Clock::now() + period;
    }
  }
}

}  // namespace skipstream::cli
