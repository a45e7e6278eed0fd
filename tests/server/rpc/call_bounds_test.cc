// Bounds that hold before a call has a request: who calls, how long a request may take, how it is
// encoded.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/rpc/reflection_service.h"
#include "tests/server/rpc/server_harness.h"

namespace skipstream {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

namespace reflection = grpc::reflection::v1;

constexpr char kAuthFile[] = R"({
  "tokens": [{"sha256": "5eefe4be6dcd420a6af61b2ff7716d5e21f9f8b59a4c736c743bc2738c14a697",
              "rights": ["generate"]}]})";
constexpr const char* kMethods[] = {
    "/skipstream.v1.ImageGeneration/Generate", "/skipstream.v1.ImageGeneration/ListModels",
    "/skipstream.v1.ImageGeneration/GetModel", "/skipstream.v1.ModelControl/Load",
    "/skipstream.v1.ModelControl/Unload"};

// Makes a call that sends its headers and never its message.
grpc::Status CallWithoutMessage(const ServerHarness& harness, const std::string& method) {
  grpc::GenericStub stub(harness.channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  next();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  return status;
}

TEST(CallBoundsTest, CallersWithoutATokenAreRefusedBeforeTheirMessageIsRead) {
  ServerHarness::Options options;
  options.auth_file = kAuthFile;
  options.server.enable_model_control = true;
  ServerHarness harness(options);
  for (const char* method : kMethods) {
    const grpc::Status status = CallWithoutMessage(harness, method);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
    EXPECT_EQ(ReasonOf(status), "NO_TOKEN") << method;
  }
}

TEST(CallBoundsTest, ARequestThatDoesNotComeEndsTheCall) {
  ServerHarness::Options options;
  options.server.enable_model_control = true;
  options.server.request_timeout = absl::Milliseconds(20);
  ServerHarness harness(options);
  for (const char* method : kMethods) {
    const grpc::Status status = CallWithoutMessage(harness, method);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("did not arrive within 20ms")) << method;
  }
  EXPECT_EQ(harness.Metric(
                "skipstream_requests_total{code=\"DEADLINE_EXCEEDED\",model=\"\",solver=\"\"}"),
            1);
  EXPECT_EQ(harness.server->WaitForCalls(absl::Seconds(60)), 0);
  harness.executor.SetAutomatic();
  EXPECT_TRUE(harness.Generate("sampler { nfe: 3 }").status.ok()) << "others are served";
}

TEST(CallBoundsTest, AnExceptionEndsItsCallAndNothingElse) {
  ServerHarness::Options options;
  options.draw_seed = []() -> uint32_t { throw std::bad_alloc(); };
  ServerHarness harness(options);
  harness.executor.SetAutomatic();
  const grpc::Status status = harness.Generate("sampler { nfe: 3 }").status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), HasSubstr("unexpected error"));
  EXPECT_EQ(harness.server->WaitForCalls(absl::Seconds(60)), 0);
  EXPECT_TRUE(harness.Generate("sampler { nfe: 3 } seeds: 1").status.ok()) << "others are served";
}

TEST(CallBoundsTest, CompressedRequestsAreRefused) {
  ServerHarness harness;
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    const grpc::Status status =
        harness.CallWithBytes(kMethods[1], std::string(100'000, '\0'), context);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << algorithm;
    EXPECT_THAT(status.error_message(), HasSubstr("ompression"));
  }
}

template <typename Service, typename Request, typename Response>
std::vector<std::string> ServicesOf(const ServerHarness& harness) {
  grpc::ClientContext context;
  const auto call = Service::NewStub(harness.channel)->ServerReflectionInfo(&context);
  Request request;
  request.set_list_services("*");
  Response response;
  std::vector<std::string> names;
  if (call->Write(request) && call->Read(&response)) {
    for (const auto& service : response.list_services_response().service()) {
      names.push_back(service.name());
    }
  }
  call->WritesDone();
  EXPECT_TRUE(call->Finish().ok());
  return names;
}

TEST(ReflectionTest, BothVersionsListTheServices) {
  ServerHarness harness;
  const auto v1 = ServicesOf<reflection::ServerReflection, reflection::ServerReflectionRequest,
                             reflection::ServerReflectionResponse>(harness);
  namespace v1alpha = grpc::reflection::v1alpha;
  const auto alpha = ServicesOf<v1alpha::ServerReflection, v1alpha::ServerReflectionRequest,
                                v1alpha::ServerReflectionResponse>(harness);
  EXPECT_THAT(v1, Contains("skipstream.v1.ImageGeneration"));
  EXPECT_EQ(v1, alpha);
}

class ReflectionCallTest : public ::testing::Test {
 protected:
  reflection::ServerReflectionResponse Ask(const reflection::ServerReflectionRequest& request) {
    reflection::ServerReflectionResponse response;
    EXPECT_TRUE(call_->Write(request) && call_->Read(&response));
    return response;
  }

  ServerHarness harness_;
  std::unique_ptr<reflection::ServerReflection::Stub> stub_ =
      reflection::ServerReflection::NewStub(harness_.channel);
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<reflection::ServerReflectionRequest,
                                           reflection::ServerReflectionResponse>>
      call_ = stub_->ServerReflectionInfo(&context_);
};

TEST_F(ReflectionCallTest, OneCallAnswersManyQuestions) {
  reflection::ServerReflectionRequest request;
  request.set_host("here");
  request.set_file_containing_symbol("skipstream.v1.ImageGeneration.Generate");
  auto response = Ask(request);
  EXPECT_EQ(response.valid_host(), "here");
  EXPECT_EQ(response.original_request().file_containing_symbol(), request.file_containing_symbol());
  EXPECT_THAT(response.file_descriptor_response().file_descriptor_proto(),
              Contains(HasSubstr("skipstream/v1/image_generation.proto")));

  request.set_file_by_filename("grpc/health/v1/health.proto");
  EXPECT_THAT(Ask(request).file_descriptor_response().file_descriptor_proto(), Not(IsEmpty()));
  request.set_file_containing_symbol("nobody.knows.This");
  EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.set_file_by_filename("nobody.proto");
  EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.mutable_file_containing_extension()->set_containing_type("skipstream.v1.Image");
  EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.set_all_extension_numbers_of_type("skipstream.v1.Image");
  response = Ask(request);
  EXPECT_EQ(response.all_extension_numbers_response().base_type_name(), "skipstream.v1.Image");
  EXPECT_EQ(response.all_extension_numbers_response().extension_number_size(), 0);
  request.set_all_extension_numbers_of_type("nobody.knows.This");
  EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Ask({}).error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  call_->WritesDone();
  EXPECT_TRUE(call_->Finish().ok());
}

TEST_F(ReflectionCallTest, OpenCallsAreBounded) {
  // The fixture's call is one of them.
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<decltype(call_)> calls;
  reflection::ServerReflectionRequest request;
  request.set_list_services("*");
  Ask(request);
  for (int i = 1; i < ReflectionService::kMaxCalls; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    calls.push_back(stub_->ServerReflectionInfo(contexts.back().get()));
    reflection::ServerReflectionResponse response;
    ASSERT_TRUE(calls.back()->Write(request) && calls.back()->Read(&response)) << i;
  }
  grpc::ClientContext context;
  EXPECT_EQ(stub_->ServerReflectionInfo(&context)->Finish().error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  for (const auto& call : calls) {
    call->WritesDone();
    EXPECT_TRUE(call->Finish().ok());
  }
}

}  // namespace
}  // namespace skipstream
