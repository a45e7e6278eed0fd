#ifndef SKIPSTREAM_SERVER_LOG_LINE_WRITER_H_
#define SKIPSTREAM_SERVER_LOG_LINE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace skipstream {

// Writes lines to a file descriptor on a thread of its own. No caller ever waits, whatever becomes
// of the descriptor: a pipe that nobody reads, a terminal that is stopped, a disk that hangs or is
// full. Lines that find kMaxWaiting others waiting, and lines that cannot be written, are dropped
// and counted. Thread-safe.
class LineWriter {
 public:
  static constexpr size_t kMaxWaiting = 8192;
  static constexpr size_t kMaxWaitingBytes = size_t{4} << 20;

  // `describe_gap` makes the line that stands in the output where lines were dropped for want of
  // room; null: nothing does. The descriptor stays open for as long as the process runs.
  using DescribeGap = std::function<std::string(int64_t dropped)>;
  explicit LineWriter(int fd, DescribeGap describe_gap = nullptr);

  // Gives the thread a second to write what waits. If it is stuck then, it stays behind until the
  // process ends.
  ~LineWriter();

  // `line` has its end of line.
  void Write(std::string line);

  // Called for each line that is dropped from now on, on any thread; null: nothing is. Must not
  // block.
  void SetOnDrop(std::function<void()> on_drop);

  // Can be called when the writer is gone: lines are dropped then.
  std::function<void(std::string)> Writing() const;

 private:
  struct State;
  static void Run(State& state);

  const std::shared_ptr<State> state_;  // the thread's as well
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_LOG_LINE_WRITER_H_
