#include "server/log/log_output.h"

#include <fmt/core.h>
#include <spdlog/details/log_msg.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/ostream_sink.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>

namespace skipstream {
namespace {

std::string_view ColourOf(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::debug:
      return "\033[36m";
    case spdlog::level::info:
      return "\033[32m";
    case spdlog::level::warn:
      return "\033[33m\033[1m";
    case spdlog::level::err:
      return "\033[31m\033[1m";
    default:
      return "\033[1m\033[41m";
  }
}

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  LineSink(std::function<void(std::string)> write, bool coloured)
      : write_(std::move(write)), coloured_(coloured) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t formatted;
    message.color_range_start = 0;
    message.color_range_end = 0;
    formatter_->format(message, formatted);
    std::string line(formatted.data(), formatted.size());
    if (coloured_ && message.color_range_end > message.color_range_start) {
      line.insert(message.color_range_end, "\033[m");
      line.insert(message.color_range_start, ColourOf(message.level));
    }
    write_(std::move(line));
  }
  void flush_() override {}

  const std::function<void(std::string)> write_;
  const bool coloured_;
};

std::string DescribeGap(LogFormat format, int64_t dropped) {
  std::ostringstream line;
  MakeLogger(std::make_shared<spdlog::sinks::ostream_sink_st>(line), format, spdlog::level::warn)
      ->warn("{} lines of the log were dropped here: nobody took them in time", dropped);
  return line.str();
}

// Lets the writer say why a library ends the process. abort() then ends it.
void WaitForLastWords(int /*signal*/) {
  const timespec wait = {.tv_sec = 0, .tv_nsec = 200'000'000};
  nanosleep(&wait, nullptr);
}

}  // namespace

LogOutput::LogOutput()
    : format_(std::make_shared<std::atomic<LogFormat>>(LogFormat::kText)),
      writer_(STDERR_FILENO,
              [format = format_](int64_t dropped) { return DescribeGap(*format, dropped); }) {
  std::signal(SIGABRT, &WaitForLastWords);
}

spdlog::sink_ptr LogOutput::NewSink() const {
  return std::make_shared<LineSink>(writer_.Writing(), isatty(STDERR_FILENO) == 1);
}

}  // namespace skipstream
