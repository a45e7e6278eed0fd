#ifndef SKIPSTREAM_SERVER_LOG_LINE_WRITER_H_
#define SKIPSTREAM_SERVER_LOG_LINE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace skipstream {

// Writes lines to a file descriptor on a separate thread. No caller ever waits, whatever happens to
// the descriptor: an unread pipe, a stopped terminal, a disk that hangs or is full. Lines that find
// kMaxWaiting others waiting, and lines that cannot be written, are dropped and counted.
// Thread-safe.
class LineWriter {
 public:
  static constexpr size_t kMaxWaiting = 8192;
  static constexpr size_t kMaxWaitingBytes = size_t{4} << 20;

  // Makes the line that marks a gap in the output, where lines were dropped for lack of room; null:
  // nothing does. The descriptor stays open for as long as the process runs.
  using DescribeGap = std::function<std::string(int64_t dropped)>;
  explicit LineWriter(int fd, DescribeGap describe_gap = nullptr);

  // Gives the thread a second to write the waiting lines. If it is stuck then, it stays behind
  // until the process ends.
  ~LineWriter();

  // Queues `line`, which includes its end of line.
  void Write(std::string line);

  // Sets a function that is called for each line dropped from now on, on any thread; null: none. It
  // must not block.
  void SetOnDrop(std::function<void()> on_drop);

  // Returns a function that writes. It can be called when the writer is gone: lines are dropped
  // then.
  std::function<void(std::string)> Writing() const;

 private:
  struct State;
  static void Run(State& state);

  const std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_LOG_LINE_WRITER_H_
