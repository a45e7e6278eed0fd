// A log that a test can read.
#ifndef SKIPSTREAM_TESTS_TESTING_RECORDING_LOG_H_
#define SKIPSTREAM_TESTS_TESTING_RECORDING_LOG_H_

#include <spdlog/sinks/base_sink.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/log/event_log.h"

namespace skipstream {

// Thread-safe.
class RecordingLog {
 public:
  const EventLog& log() const { return log_; }

  std::vector<std::string> lines() const { return sink_->lines(); }
  // Those with this message, parsed.
  std::vector<nlohmann::json> Events(const std::string& message) const {
    std::vector<nlohmann::json> events;
    for (const std::string& line : lines()) {
      nlohmann::json event = nlohmann::json::parse(line);
      if (event.at("message") == message) events.push_back(std::move(event));
    }
    return events;
  }

 private:
  class Sink final : public spdlog::sinks::base_sink<std::mutex> {
   public:
    std::vector<std::string> lines() {
      std::lock_guard lock(mutex_);
      return lines_;
    }

   private:
    void sink_it_(const spdlog::details::log_msg& message) override {
      spdlog::memory_buf_t line;
      formatter_->format(message, line);
      lines_.emplace_back(line.data(), line.size());
    }
    void flush_() override {}

    std::vector<std::string> lines_;
  };

  const std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
  const EventLog log_{sink_, LogFormat::kJson, spdlog::level::debug};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_RECORDING_LOG_H_
