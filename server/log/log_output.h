#ifndef SKIPSTREAM_SERVER_LOG_LOG_OUTPUT_H_
#define SKIPSTREAM_SERVER_LOG_LOG_OUTPUT_H_

#include <spdlog/common.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "server/log/event_log.h"
#include "server/log/line_writer.h"

namespace skipstream {

// Carries all loggers' lines to standard error: no logger waits for it (LineWriter). Lives as long
// as the program logs; its destructor writes the waiting lines, within a second.
class LogOutput {
 public:
  LogOutput();

  // Returns a sink for one logger. It may outlive this object.
  spdlog::sink_ptr NewSink() const;

  // Sets the form of the line that counts dropped lines. kText until it is called.
  void SetFormat(LogFormat format) { *format_ = format; }

  void SetOnDrop(std::function<void()> on_drop) { writer_.SetOnDrop(std::move(on_drop)); }

 private:
  const std::shared_ptr<std::atomic<LogFormat>> format_;
  LineWriter writer_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_LOG_LOG_OUTPUT_H_
