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

namespace skipstream {
namespace {

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LineSink(std::function<void(std::string)> write) : write_(std::move(write)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t formatted;
    formatter_->format(message, formatted);
    write_(std::string(formatted.data(), formatted.size()));
  }
  void flush_() override {}

  const std::function<void(std::string)> write_;
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
  return std::make_shared<LineSink>(writer_.Writing());
}

}  // namespace skipstream
