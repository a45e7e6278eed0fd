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

// The one way of all loggers to standard error: nobody who logs waits for it (LineWriter). Lives as
// long as the program has something to say; its end writes what waits, within a second.
class LogOutput {
 public:
  LogOutput();

  // A sink for one logger. May outlive this object.
  spdlog::sink_ptr NewSink() const;

  // The form of the line that says how many lines were dropped. kText until it is called.
  void SetFormat(LogFormat format) { *format_ = format; }

  void SetOnDrop(std::function<void()> on_drop) { writer_.SetOnDrop(std::move(on_drop)); }

 private:
  const std::shared_ptr<std::atomic<LogFormat>> format_;
  LineWriter writer_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_LOG_LOG_OUTPUT_H_
