// Handles Ctrl-C without a signal handler.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_INTERRUPT_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_INTERRUPT_H_

#include <functional>
#include <thread>

namespace skipstream::cli {

// Blocks SIGINT and SIGTERM for the calling thread and all threads it starts later, so that only an
// InterruptWatcher sees them. Call before anything starts a thread.
void BlockInterrupts();

// Waits for SIGINT and SIGTERM on a separate thread. The first calls `on_interrupt(signal)` there;
// the second calls `before_exit` and ends the process at once with 128 + signal.
class InterruptWatcher {
 public:
  explicit InterruptWatcher(
      std::function<void(int signal)> on_interrupt, std::function<void()> before_exit = [] {});
  ~InterruptWatcher();

 private:
  void Watch();

  const std::function<void(int)> on_interrupt_;
  const std::function<void()> before_exit_;
  int signal_fd_;
  int stop_fd_;
  std::thread thread_;
};

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_INTERRUPT_H_
