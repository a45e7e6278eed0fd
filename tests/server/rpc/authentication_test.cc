// Tokens, rights, ids and traces of calls, over real gRPC and in the log.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "skipstream/v1/model_control.grpc.pb.h"
#include "tests/server/rpc/server_harness.h"

namespace skipstream {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;

// SHA-256 of "generator-token" (may generate) and of "controller-token" (may control).
constexpr char kAuthFile[] = R"({
  "tokens": [
    {"sha256": "5eefe4be6dcd420a6af61b2ff7716d5e21f9f8b59a4c736c743bc2738c14a697",
     "tenant": "studio", "rights": ["generate"]},
    {"sha256": "568b7ab1b53b7adb84fabf7082bfcf946bd1cad2369488fe4c8ede67b68b9849",
     "rights": ["control"]}],
  "tenants": {"studio": {}}})";
constexpr char kGenerator[] = "generator-token";
constexpr char kController[] = "controller-token";
constexpr char kTraceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

using Metadata = std::vector<std::pair<std::string, std::string>>;

Metadata Bearing(const std::string& token) {
  return {{"authorization", absl::StrCat("Bearer ", token)}};
}

class AuthenticationTest : public ::testing::Test {
 protected:
  explicit AuthenticationTest(const std::string& auth_file = kAuthFile) {
    ServerHarness::Options options;
    options.executor.automatic = true;
    options.auth_file = auth_file;
    options.server.enable_model_control = true;
    harness_ = std::make_unique<ServerHarness>(options);
    harness_->models.Add(LoadedModel::Load(harness_->executor, "apple", "a.safetensors").value())
        .IgnoreError();
  }

  std::unique_ptr<grpc::ClientContext> Context(const Metadata& metadata) {
    auto context = std::make_unique<grpc::ClientContext>();
    for (const auto& [key, value] : metadata) context->AddMetadata(key, value);
    return context;
  }

  grpc::Status Generate(const Metadata& metadata,
                        const std::string& request = "sampler { nfe: 3 }") {
    context_ = Context(metadata);
    const auto reader = harness_->stub->Generate(context_.get(), Request(request));
    v1::GenerateEvent event;
    while (reader->Read(&event)) {
      if (event.has_accepted()) accepted_ = event.accepted();
    }
    return reader->Finish();
  }
  grpc::Status ListModels(const Metadata& metadata) {
    v1::ListModelsResponse response;
    return harness_->stub->ListModels(Context(metadata).get(), {}, &response);
  }
  grpc::Status GetModel(const Metadata& metadata) {
    v1::GetModelResponse response;
    return harness_->stub->GetModel(Context(metadata).get(), {}, &response);
  }
  grpc::Status Unload(const Metadata& metadata) {
    v1::UnloadRequest request;
    request.set_name("apple");
    v1::UnloadResponse response;
    return v1::ModelControl::NewStub(harness_->channel)
        ->Unload(Context(metadata).get(), request, &response);
  }
  grpc::Status Load(const Metadata& metadata) {
    v1::LoadResponse response;
    return v1::ModelControl::NewStub(harness_->channel)
        ->Load(Context(metadata).get(), v1::LoadRequest(), &response);
  }

  // A value of the answer's initial metadata; empty if it is not there.
  std::string Answered(const std::string& key) const {
    const auto& metadata = context_->GetServerInitialMetadata();
    const auto found = metadata.find(key);
    return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
  }

  std::unique_ptr<ServerHarness> harness_;
  std::unique_ptr<grpc::ClientContext> context_;
  v1::Accepted accepted_;
};

class OpenServerTest : public AuthenticationTest {
 protected:
  OpenServerTest() : AuthenticationTest("") {}
};

TEST_F(AuthenticationTest, NoMethodAnswersWithoutAValidToken) {
  for (const Metadata& metadata : {Metadata(), Bearing("wrong")}) {
    const std::string reason = metadata.empty() ? "NO_TOKEN" : "BAD_TOKEN";
    for (const grpc::Status& status : {Generate(metadata), ListModels(metadata), GetModel(metadata),
                                       Load(metadata), Unload(metadata)}) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
      EXPECT_EQ(ReasonOf(status), reason);
    }
    EXPECT_EQ(harness_->Metric(absl::StrCat("skipstream_rejected_total{reason=\"", reason, "\"}")),
              5);
  }
  EXPECT_THAT(harness_->models.List(), SizeIs(2));
}

TEST_F(AuthenticationTest, WhoeverIsNobodyLearnsNothingOfHisRequest) {
  // Both are invalid; only callers with the right to generate get that error.
  for (const char* request : {"model: 'no such model'", "sampler { nfe: -1 }"}) {
    EXPECT_EQ(Generate({}, request).error_code(), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_THAT(FieldsOf(Generate({}, request)), IsEmpty());
  }
  EXPECT_EQ(Generate(Bearing(kGenerator), "sampler { nfe: -1 }").error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(AuthenticationTest, OfWhoeverIsNobodyNoByteIsParsed) {
  for (const char* method :
       {"ImageGeneration/Generate", "ImageGeneration/ListModels", "ImageGeneration/GetModel",
        "ModelControl/Load", "ModelControl/Unload"}) {
    const grpc::Status status = harness_->CallWithBytes(absl::StrCat("/skipstream.v1.", method),
                                                        "\xff\xff", *Context(Bearing("wrong")));
    EXPECT_EQ(ReasonOf(status), "BAD_TOKEN") << method;
  }
}

TEST_F(AuthenticationTest, ATokenOpensWhatItHasTheRightTo) {
  EXPECT_TRUE(Generate(Bearing(kGenerator)).ok());
  EXPECT_TRUE(ListModels(Bearing(kGenerator)).ok());
  EXPECT_EQ(ReasonOf(Unload(Bearing(kGenerator))), "NO_RIGHT");
  EXPECT_EQ(Load(Bearing(kGenerator)).error_code(), grpc::StatusCode::PERMISSION_DENIED);

  EXPECT_EQ(ReasonOf(Generate(Bearing(kController))), "NO_RIGHT");
  EXPECT_TRUE(GetModel(Bearing(kController)).ok());
  EXPECT_EQ(Load(Bearing(kController)).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(Unload(Bearing(kController)).ok());
  EXPECT_THAT(harness_->models.List(), SizeIs(1));
}

TEST_F(AuthenticationTest, ProbesNeedNoTokenAndReflectionIsOff) {
  EXPECT_EQ(harness_->Health("readiness"), "SERVING");
  grpc::ClientContext context;
  grpc::GenericStub stub(harness_->channel);
  grpc::CompletionQueue queue;
  auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  grpc::Status status;
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(AuthenticationTest, ARevokedTokenIsRefusedFromTheNextCallOn) {
  ASSERT_TRUE(Generate(Bearing(kGenerator)).ok());
  harness_->authenticator->Replace({});
  EXPECT_EQ(ReasonOf(Generate(Bearing(kGenerator))), "BAD_TOKEN");
}

TEST_F(AuthenticationTest, TheLogSaysWhoseCallItWasAndNeverAToken) {
  Generate(Bearing(kGenerator));
  Generate(Bearing("a-secret-nobody-knows"));
  Unload(Bearing(kGenerator));
  Unload(Bearing(kController));
  const auto generated = harness_->log.Events("generate");
  ASSERT_THAT(generated, SizeIs(1));
  EXPECT_EQ(generated[0]["tenant"], "studio");
  EXPECT_EQ(generated[0]["code"], "OK");
  EXPECT_EQ(generated[0]["nfe"], 3);
  EXPECT_EQ(generated[0]["images"], 1);
  const auto refused = harness_->log.Events("refused");
  ASSERT_THAT(refused, SizeIs(2));
  EXPECT_EQ(refused[0]["reason"], "BAD_TOKEN");
  EXPECT_EQ(refused[0]["method"], "Generate");
  EXPECT_EQ(refused[1]["reason"], "NO_RIGHT");
  ASSERT_THAT(harness_->log.Events("model control"), SizeIs(1));
  EXPECT_EQ(harness_->log.Events("model control")[0]["name"], "apple");
  EXPECT_THAT(harness_->log.lines(),
              Each(AllOf(Not(HasSubstr("a-secret")), Not(HasSubstr("generator-token")),
                         Not(HasSubstr("controller-token")), Not(HasSubstr("earer")))));
}

TEST_F(AuthenticationTest, AFloodOfRefusalsIsAFewLines) {
  for (int i = 0; i < 100; ++i) ListModels({});
  EXPECT_LE(harness_->log.lines().size(), 20u) << "ten in ten seconds";
  EXPECT_EQ(harness_->Metric("skipstream_rejected_total{reason=\"NO_TOKEN\"}"), 100);
}

TEST_F(OpenServerTest, EverybodyMayDoEverythingAsTheDefaultTenant) {
  EXPECT_TRUE(Generate({}).ok());
  EXPECT_TRUE(Generate(Bearing("whatever")).ok());
  EXPECT_EQ(harness_->log.Events("generate")[1]["tenant"], "default");
  EXPECT_TRUE(Unload({}).ok());
}

TEST_F(OpenServerTest, TheIdOfTheRequestIsInTheAnswerAndTheLog) {
  Generate({}, "request_id: 'order 66' sampler { nfe: 3 }");
  EXPECT_EQ(accepted_.request_id(), "order 66");
  EXPECT_EQ(Answered("x-request-id"), "order 66");
  EXPECT_EQ(harness_->log.Events("generate")[0]["request_id"], "order 66");
}

TEST_F(OpenServerTest, ARequestWithoutIdGetsOne) {
  Generate({});
  EXPECT_THAT(accepted_.request_id(), MatchesRegex("[0-9a-f]{32}"));
  EXPECT_EQ(Answered("x-request-id"), accepted_.request_id());
  EXPECT_EQ(harness_->log.Events("generate")[0]["request_id"], accepted_.request_id());
}

TEST_F(OpenServerTest, AHostileIdNeitherBreaksTheAnswerNorTheLog) {
  Generate({}, "request_id: 'x\\r\\ngrpc-status: 0\\n{\"level\":\"error\"}' sampler { nfe: 3 }");
  EXPECT_THAT(Answered("x-request-id"), MatchesRegex("[0-9a-f]{32}"));
  ASSERT_THAT(harness_->log.Events("generate"), SizeIs(1));
  EXPECT_EQ(harness_->log.Events("generate")[0]["level"], "info");
}

TEST_F(OpenServerTest, TheTraceIsCarriedThrough) {
  Generate({{"traceparent", kTraceparent}});
  EXPECT_EQ(Answered("traceparent"), kTraceparent);
  const auto line = harness_->log.Events("generate")[0];
  EXPECT_EQ(line["traceparent"], kTraceparent);
  EXPECT_EQ(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

TEST_F(OpenServerTest, AnInvalidTraceIsIgnored) {
  for (const Metadata& metadata :
       {Metadata{{"traceparent", "00-nonsense"}},
        Metadata{{"traceparent", kTraceparent}, {"traceparent", kTraceparent}}}) {
    EXPECT_TRUE(Generate(metadata).ok());
    EXPECT_EQ(Answered("traceparent"), "");
    EXPECT_FALSE(harness_->log.Events("generate").back().contains("traceparent"));
  }
}

TEST_F(OpenServerTest, AFailureIsLoggedWithItsCodeAndReason) {
  harness_->executor.FailNextBatches(1, absl::InternalError("the device burned"));
  EXPECT_FALSE(Generate({}).ok());
  harness_->admission.Close();
  EXPECT_FALSE(Generate({}).ok());
  EXPECT_FALSE(Generate({}, "model: 'none'").ok());
  const auto lines = harness_->log.Events("generate");
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_EQ(lines[0]["code"], "INTERNAL");
  EXPECT_EQ(lines[1]["code"], "UNAVAILABLE");
  EXPECT_EQ(lines[1]["reason"], "DRAINING");
  EXPECT_EQ(lines[2]["code"], "NOT_FOUND");
  EXPECT_GE(lines[2]["total_seconds"], 0.0);
}

TEST_F(OpenServerTest, MetadataBeyondTheLimitIsRefused) {
  EXPECT_TRUE(Generate({{"x-filler", std::string(6 << 10, 'x')}}).ok());
  EXPECT_EQ(Generate({{"x-filler", std::string(9 << 10, 'x')}}).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace skipstream
