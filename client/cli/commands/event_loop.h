// Moves events from gRPC and signal threads to one thread.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_EVENT_LOOP_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_EVENT_LOOP_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"

namespace skipstream::cli {

// Runs posted functions in order on the thread that calls RunUntil().
class EventLoop {
 public:
  // Queues an event. Any thread may call it.
  void Post(std::function<void()> event);

  // Returns when `done()` holds after an event (or at once). `on_tick` is called at least every
  // `tick` while waiting.
  void RunUntil(absl::FunctionRef<bool()> done, absl::Duration tick,
                absl::FunctionRef<void()> on_tick);

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> events_;  // guarded by mutex_
};

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_EVENT_LOOP_H_
