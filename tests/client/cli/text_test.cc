#include "client/cli/output/text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "client/cli/output/message_json.h"
#include "client/cli/output/user_errors.h"

namespace skipstream::cli {
namespace {

TEST(TextTest, LettersStayAndControlsAreEscaped) {
  EXPECT_EQ(Printable("caf\u00e9 \u732b \U0001f408 a\\b"), "caf\u00e9 \u732b \U0001f408 a\\b");
  EXPECT_EQ(Printable("\x1b]0;title\x07\r\n\t\x7f"), "\\x1b]0;title\\x07\\r\\n\\t\\x7f");
  EXPECT_EQ(Printable("\u009b2J"), "\\u009b2J") << "a C1 control";
  EXPECT_EQ(Printable("a\u2028b\u2029c"), "a\\u2028b\\u2029c");
  EXPECT_EQ(Printable("gnp.\u202etac\u2066\u200f"), "gnp.\\u202etac\\u2066\\u200f");
  EXPECT_EQ(Printable(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(PrintableLines("one\ntwo\r\n"), "one\ntwo\\r\n");
}

TEST(TextTest, WhatIsNoUtf8IsShownByteByByte) {
  for (const char* text :
       {"caf\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xe2\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(text)) << Printable(text);
  }
  EXPECT_TRUE(IsUtf8("caf\u00e9 \U0010ffff"));
  EXPECT_EQ(Printable("caf\xe9.png"), "caf\\xe9.png");
  EXPECT_EQ(Printable("\xe2\x80"), "\\xe2\\x80");
}

TEST(TextTest, JsonIsUtf8WithoutControlsAndLosesNothingElse) {
  const std::string text = "\x1b[2J\u009b\u202e\x7f\n\u00e9";
  const std::string json = DumpJson({{"a", text}, {"b", "caf\xe9"}});
  EXPECT_TRUE(IsUtf8(json));
  EXPECT_EQ(PrintableLines(json), json) << "nothing is left to escape";
  const nlohmann::json parsed = nlohmann::json::parse(json);
  EXPECT_EQ(parsed.at("a"), text);
  EXPECT_EQ(parsed.at("b"), "caf\ufffd");
}

TEST(TextTest, WhatAServerSaysOfAnErrorIsOneLine) {
  EXPECT_EQ(ExplainError(absl::InternalError("bad\x1b[2J\nerror: all is well"), "host\x1b:1"),
            "error: bad\\x1b[2J\\nerror: all is well\n");
}

}  // namespace
}  // namespace skipstream::cli
