#include "server/log/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace skipstream {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// Everything that could end a line, a text or a field, or command a terminal: in the end a byte
// that is no UTF-8, U+2028 and U+009B.
const char kHostile[] =
    "x\" ,\"level\":\"error\"}\n{\\ code=OK\r\t\x1b[31m\xff\xe2\x80\xa8\xc2\x9b";

class EventLogTest : public ::testing::Test {
 protected:
  spdlog::sink_ptr Sink() { return std::make_shared<spdlog::sinks::ostream_sink_mt>(out_); }
  EventLog Log(LogFormat format, spdlog::level::level_enum level = spdlog::level::info) {
    return {Sink(), format, level};
  }
  // The only line written. Nothing in a log is anything but printable ASCII.
  std::string Line() {
    const std::string text = out_.str();
    const auto end =
        std::find_if(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; });
    EXPECT_EQ(end + 1, text.end()) << text;
    EXPECT_THAT(text, EndsWith("\n"));
    return text;
  }

  std::ostringstream out_;
};

TEST_F(EventLogTest, JsonIsOneObjectWithTimeLevelMessageAndFields) {
  Log(LogFormat::kJson)
      .Warn("generate", {{"code", "OK"}, {"nfe", int64_t{19}}, {"seconds", 0.25}, {"reason", ""}});
  const auto json = nlohmann::json::parse(Line());
  EXPECT_THAT(json["time"].get<std::string>(),
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"));
  EXPECT_EQ(json["level"], "warning");
  EXPECT_EQ(json["message"], "generate");
  EXPECT_EQ(json["code"], "OK");
  EXPECT_EQ(json["nfe"], 19);
  EXPECT_EQ(json["seconds"], 0.25);
  EXPECT_FALSE(json.contains("reason")) << "an empty field says nothing";
}

TEST_F(EventLogTest, NothingAClientSaysBreaksOutOfJson) {
  Log(LogFormat::kJson).Info(kHostile, {{"request_id", kHostile}});
  const auto json = nlohmann::json::parse(Line());
  EXPECT_EQ(json["level"], "info");
  EXPECT_THAT(json["request_id"].get<std::string>(),
              EndsWith("\n{\\ code=OK\r\t\x1b[31m\xef\xbf\xbd\xe2\x80\xa8\xc2\x9b"));
  EXPECT_FALSE(json.contains("code"));
}

TEST_F(EventLogTest, NothingAClientSaysBreaksOutOfText) {
  Log(LogFormat::kText).Info("generate", {{"request_id", kHostile}, {"model", "a b"}, {"n", 2.5}});
  const std::string line = Line();
  EXPECT_THAT(line, HasSubstr("[info] generate request_id=\"x\\\" ,"));
  EXPECT_THAT(line, EndsWith(" model=\"a b\" n=2.5\n"));
}

TEST_F(EventLogTest, PlainMessagesAreLinesOfTheSameForm) {
  MakeLogger(Sink(), LogFormat::kJson, spdlog::level::info)->error("{}", kHostile);
  EXPECT_EQ(nlohmann::json::parse(Line())["level"], "error");
  out_.str("");
  MakeLogger(Sink(), LogFormat::kText, spdlog::level::info)->error("two\nlines");
  EXPECT_THAT(Line(), EndsWith("[error] two\\nlines\n"));
}

TEST_F(EventLogTest, LowerLevelsAreNotWritten) {
  Log(LogFormat::kJson, spdlog::level::warn).Info("generate");
  EXPECT_EQ(out_.str(), "");
  Log(LogFormat::kJson, spdlog::level::warn).Warn("denied");
  EXPECT_THAT(Line(), HasSubstr("denied"));
}

}  // namespace
}  // namespace skipstream
