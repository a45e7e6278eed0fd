#include "server/log/event_log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace skipstream {
namespace {

constexpr char kName[] = "skipstream";

std::string Dump(const nlohmann::ordered_json& json) {
  // Bytes that are no UTF-8 become U+FFFD. The rest is escaped unless it is ASCII: in Unicode too
  // there are characters that end lines (U+2028) or command terminals (U+009B).
  return json.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true,
                   nlohmann::json::error_handler_t::replace);
}

nlohmann::ordered_json EventJson(std::chrono::system_clock::time_point time, std::string_view level,
                                 std::string_view message) {
  return {{"time",
           absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(time), absl::UTCTimeZone())},
          {"level", level},
          {"message", message}};
}

std::string_view View(const spdlog::string_view_t& text) { return {text.data(), text.size()}; }

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string line = Dump(EventJson(
        message.time, View(spdlog::level::to_string_view(message.level)), View(message.payload)));
    out.append(line.data(), line.data() + line.size());
    out.push_back('\n');
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

// ASCII that ends no line and commands no terminal.
bool IsPrintable(char c) { return c >= ' ' && c < '\x7f'; }

// Text stays on its line: what is not printable is escaped.
class TextFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string payload =
        absl::CHexEscape(absl::string_view(message.payload.data(), message.payload.size()));
    spdlog::details::log_msg escaped = message;
    // Quotes alone are not worth escaping.
    if (!std::all_of(message.payload.begin(), message.payload.end(), IsPrintable)) {
      escaped.payload = payload;
    }
    pattern_.format(escaped, out);
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>();
  }

 private:
  spdlog::pattern_formatter pattern_;
};

bool IsEmpty(const LogField& field) {
  const auto* text = std::get_if<std::string>(&field.value);
  return text != nullptr && text->empty();
}

// name=value, in quotes where the end of the value could be taken for something else.
std::string FieldText(const LogField& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    const bool plain = std::all_of(text->begin(), text->end(), [](char c) {
      return IsPrintable(c) && c != ' ' && c != '"' && c != '\\' && c != '=';
    });
    return absl::StrCat(" ", field.name, "=",
                        plain ? *text : absl::StrCat("\"", absl::CHexEscape(*text), "\""));
  }
  if (const auto* integer = std::get_if<int64_t>(&field.value)) {
    return absl::StrCat(" ", field.name, "=", *integer);
  }
  return absl::StrCat(" ", field.name, "=", std::get<double>(field.value));
}

std::shared_ptr<spdlog::logger> LoggerOf(spdlog::sink_ptr sink,
                                         std::unique_ptr<spdlog::formatter> formatter,
                                         spdlog::level::level_enum level) {
  sink->set_formatter(std::move(formatter));
  auto logger = std::make_shared<spdlog::logger>(kName, std::move(sink));
  logger->set_level(level);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

std::unique_ptr<spdlog::formatter> EventFormatter(LogFormat format) {
  // JSON events are whole lines already.
  if (format == LogFormat::kJson) return std::make_unique<spdlog::pattern_formatter>("%v");
  return std::make_unique<TextFormatter>();
}

}  // namespace

std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink, LogFormat format,
                                           spdlog::level::level_enum level) {
  if (format == LogFormat::kJson) {
    return LoggerOf(std::move(sink), std::make_unique<JsonFormatter>(), level);
  }
  return LoggerOf(std::move(sink), std::make_unique<TextFormatter>(), level);
}

EventLog::EventLog(spdlog::sink_ptr sink, LogFormat format, spdlog::level::level_enum level)
    : format_(format), logger_(LoggerOf(std::move(sink), EventFormatter(format), level)) {}

void EventLog::Write(spdlog::level::level_enum level, std::string_view message,
                     const LogFields& fields) const {
  if (!logger_->should_log(level)) return;
  if (format_ == LogFormat::kText) {
    std::string line(message);
    for (const LogField& field : fields) {
      if (!IsEmpty(field)) line += FieldText(field);
    }
    logger_->log(level, "{}", line);
    return;
  }
  nlohmann::ordered_json json = EventJson(std::chrono::system_clock::now(),
                                          View(spdlog::level::to_string_view(level)), message);
  for (const LogField& field : fields) {
    if (IsEmpty(field)) continue;
    std::visit([&](const auto& value) { json[field.name] = value; }, field.value);
  }
  logger_->log(level, "{}", Dump(json));
}

}  // namespace skipstream
