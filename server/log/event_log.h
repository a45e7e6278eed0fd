#ifndef SKIPSTREAM_SERVER_LOG_EVENT_LOG_H_
#define SKIPSTREAM_SERVER_LOG_EVENT_LOG_H_

#include <spdlog/logger.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace skipstream {

enum class LogFormat { kText, kJson };

// Makes a logger for messages without fields. Sets the formatter of `sink`, so that every message
// is one line:
//   kText  [2026-01-31 12:00:00.000] [skipstream] [info] message
//   kJson  {"time":"2026-01-31T12:00:00.000Z","level":"info","message":"message"}
// Text lines are in local time, as people read them; JSON is UTC.
std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink, LogFormat format,
                                           spdlog::level::level_enum level);

struct LogField {
  using Value = std::variant<std::string, int64_t, double>;

  std::string name;
  Value value;
};
// Fields with an empty text are left out.
using LogFields = std::vector<LogField>;

// Logs events with fields in the same formats, one line each. No text can end a line or add a
// field, whatever a client sends. Needs a separate sink, as it sets the formatter. Thread-safe.
class EventLog {
 public:
  EventLog(spdlog::sink_ptr sink, LogFormat format, spdlog::level::level_enum level);

  void Info(std::string_view message, const LogFields& fields = {}) const {
    Write(spdlog::level::info, message, fields);
  }
  void Warn(std::string_view message, const LogFields& fields = {}) const {
    Write(spdlog::level::warn, message, fields);
  }
  void Error(std::string_view message, const LogFields& fields = {}) const {
    Write(spdlog::level::err, message, fields);
  }

 private:
  void Write(spdlog::level::level_enum level, std::string_view message,
             const LogFields& fields) const;

  const LogFormat format_;
  const std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_LOG_EVENT_LOG_H_
