#include "server/rpc/trace_context.h"

#include <gtest/gtest.h>

#include <string>

namespace skipstream {
namespace {

constexpr char kValid[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContextTest, AValidOneIsCarried) {
  const auto trace = ParseTraceparent(kValid);
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->traceparent, kValid);
  EXPECT_EQ(trace->trace_id, "0af7651916cd43dd8448eb211c80319c");
}

TEST(TraceContextTest, OfALaterVersionWhatThisOneKnowsIsCarried) {
  const auto trace =
      ParseTraceparent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what the future");
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->traceparent, kValid);
}

TEST(TraceContextTest, WhatIsNotValidIsNoTrace) {
  const std::string valid = kValid;
  for (const std::string& bad : {
           std::string(),
           valid.substr(0, 54),
           valid + "-",
           valid + "-more",
           valid + " ",
           std::string("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
           std::string("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
           std::string("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
           std::string("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
           std::string("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more"),
           std::string("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
           std::string("00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01"),
           std::string("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01"),
           std::string("00-0af7651916cd43dd8448eb211c8031\n\n-b7ad6b7169203331-01"),
           std::string("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01"),
           std::string("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x"),
           std::string("0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
       }) {
    EXPECT_FALSE(ParseTraceparent(bad)) << bad;
  }
}

}  // namespace
}  // namespace skipstream
