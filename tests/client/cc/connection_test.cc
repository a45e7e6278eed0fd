#include "client/cc/connection.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cc/skipstream_client.h"
#include "skipstream/v1/image_generation.grpc.pb.h"
#include "tests/testing/temporary_directory.h"

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

// The same list holds for the Python client.
TEST(ConnectionTest, ATokenTakesTheListedRoutesOnly) {
  std::ifstream in(SKIPSTREAM_SOURCE_DIR "/tests/data/route_cases.json");
  const nlohmann::json cases = nlohmann::json::parse(in);
  ASSERT_GT(cases.size(), 40u);
  for (const nlohmann::json& route : cases) {
    const ConnectionOptions options = {.tls = route.at("tls"), .token = "secret"};
    EXPECT_EQ(ValidateConnection(route.at("target"), options).ok(), route.at("token_allowed"))
        << route;
  }
}

// An IPv4 address of this machine that others can reach as well; empty: it has none.
std::string OutsideAddress() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return "";
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  for (const ifaddrs* next = list; next != nullptr; next = next->ifa_next) {
    if (next->ifa_addr == nullptr || next->ifa_addr->sa_family != AF_INET) continue;
    const in_addr address = reinterpret_cast<const sockaddr_in*>(next->ifa_addr)->sin_addr;
    char text[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &address, text, sizeof text);
    if (ntohl(address.s_addr) >> 24 != 127) return text;
  }
  return "";
}

// A resolver may send "localhost" anywhere: the connection decides, before the token is sent.
TEST(ConnectionTest, ATokenInClearStaysOnThisMachineWhereverItsNameLeads) {
  const std::string outside = OutsideAddress();
  if (outside.empty()) GTEST_SKIP() << "no address besides loopback";
  class Models : public v1::ImageGeneration::Service {
   public:
    grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                            v1::ListModelsResponse*) override {
      return grpc::Status::OK;
    }
  } models;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("0.0.0.0:0", grpc::InsecureServerCredentials(), &port);
  const TemporaryDirectory folder;
  const std::string socket = "unix:" + (folder / "socket");
  const std::string abstract = absl::StrCat("unix-abstract:skipstream-", getpid());
  for (const std::string& local : {socket, abstract}) {
    builder.AddListeningPort(local, grpc::InsecureServerCredentials());
  }
  builder.RegisterService(&models);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const auto list_models = [port](const std::string& host, const ConnectionOptions& options) {
    const auto channel =
        grpc::CreateChannel(absl::StrCat(host, ":", port), MakeCredentials("localhost", options));
    grpc::ClientContext context;
    AddMetadata(context, MakeCallMetadata(options));
    v1::ListModelsResponse response;
    return v1::ImageGeneration::NewStub(channel)->ListModels(&context, {}, &response);
  };
  EXPECT_TRUE(list_models("127.0.0.1", {.token = "secret"}).ok());
  EXPECT_TRUE(list_models("127.8.9.10", {.token = "secret"}).ok());
  EXPECT_TRUE(list_models(outside, {}).ok());
  EXPECT_TRUE(list_models(outside, {.token = "secret", .allow_plaintext_token = true}).ok());
  EXPECT_FALSE(list_models(outside, {.token = "secret"}).ok());
  for (const std::string& local : {absl::StrCat("localhost:", port), socket, abstract}) {
    Client client({.target = local, .connection = {.token = "secret"}});
    EXPECT_TRUE(client.ListModels().ok()) << local;
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

TEST(ConnectionTest, PortsThatThereAreNotAreRefused) {
  for (const char* target :
       {"127.0.0.1:65536", "localhost:99999999999", "ipv4:10.0.0.1:1,10.0.0.2:70000"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ValidateConnection(target, {}))) << target;
  }
  for (const char* target : {"127.0.0.1:65535", "[::1]:1", "::1", "unix:/run/a:99999", "host"}) {
    EXPECT_TRUE(ValidateConnection(target, {}).ok()) << target;
  }
}

}  // namespace
}  // namespace skipstream::client
