#include "client/cc/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>

#include "client/cc/skipstream_client.h"

namespace skipstream::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

TEST(ConnectionTest, ATokenIsSentInClearToThisMachineOnly) {
  const ConnectionOptions options = {.token = "secret"};
  for (const char* target :
       {"localhost:50051", "localhost", "127.0.0.1:50051", "127.8.9.10:1", "[::1]:50051", "::1",
        "dns:///localhost:50051", "ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "unix:/run/s.sock"}) {
    EXPECT_TRUE(ValidateConnection(target, options).ok()) << target;
  }
  for (const char* target :
       {"example.com:50051", "10.0.0.1:50051", "127.0.0.1.example.com:50051",
        "localhost.example.com:50051", "ipv4:127.0.0.1:50051,10.0.0.1:50051", "[2001:db8::1]:50051",
        "dns://127.0.0.1/example.com:50051", "xds:///localhost", "0.0.0.0:50051", ""}) {
    const absl::Status status = ValidateConnection(target, options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << target;
    EXPECT_THAT(std::string(status.message()), HasSubstr("not encrypted"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
    EXPECT_TRUE(ValidateConnection(target, {.tls = true, .token = "secret"}).ok());
    EXPECT_TRUE(
        ValidateConnection(target, {.token = "secret", .allow_plaintext_token = true}).ok());
    EXPECT_TRUE(ValidateConnection(target, {}).ok());
  }
}

TEST(ConnectionTest, WhatCannotBeATokenIsRefusedWithoutRepeatingIt) {
  for (const char* token : {"two words", "line\nbreak", "caf\xc3\xa9", " x"}) {
    const absl::Status status = ValidateConnection("localhost:1", {.token = token});
    EXPECT_FALSE(status.ok()) << token;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(token)));
  }
}

TEST(ConnectionTest, CertificatesNeedEachOtherAndTls) {
  EXPECT_FALSE(ValidateConnection("localhost:1", {.tls = true, .cert_pem = "x"}).ok());
  EXPECT_FALSE(ValidateConnection("localhost:1", {.tls = true, .key_pem = "x"}).ok());
  EXPECT_FALSE(ValidateConnection("localhost:1", {.ca_pem = "x"}).ok());
  EXPECT_TRUE(
      ValidateConnection("localhost:1", {.tls = true, .cert_pem = "x", .key_pem = "x"}).ok());
}

TEST(ConnectionTest, TokenAndTraceGoWithEveryCall) {
  EXPECT_THAT(MakeCallMetadata({.token = "t", .traceparent = "00-a"}),
              ElementsAre(Pair("authorization", "Bearer t"), Pair("traceparent", "00-a")));
  EXPECT_THAT(MakeCallMetadata({}), IsEmpty());
}

TEST(ConnectionTest, AClientWithABadConnectionSendsNothingAndSaysWhy) {
  Client client({.target = "192.0.2.1:50051", .connection = {.token = "secret"}});
  EXPECT_THAT(client.ListModels().status().ToString(), HasSubstr("not encrypted"));
  EXPECT_THAT(client.GetModel("").status().ToString(), HasSubstr("not encrypted"));
  EXPECT_THAT(client.CheckHealth("").status().ToString(), HasSubstr("not encrypted"));
  EXPECT_THAT(client.Generate({}).status().ToString(), HasSubstr("not encrypted"));
}

}  // namespace
}  // namespace skipstream::client
