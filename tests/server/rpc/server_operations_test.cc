// Drain, health, reflection and the description of models over real gRPC.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/server/rpc/server_harness.h"

namespace skipstream {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(ServerDrainTest, QueuedAndRunningRequestsFinishAndNewOnesAreRefused) {
  ServerHarness::Options options;
  options.executor.num_slots = 1;
  ServerHarness harness(options);
  OpenCall running = harness.Start("sampler { nfe: 3 }");
  harness.executor.WaitForBatches(1);
  OpenCall queued = harness.Start("sampler { nfe: 3 }");
  EXPECT_TRUE(queued.Read().has_accepted());

  harness.server->BeginDrain();
  const CallResult refused = harness.Generate("");
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(refused.status), "DRAINING");
  // gRPC lets go of the refused call a moment after its client has the answer.
  const absl::Time patience = absl::Now() + absl::Seconds(60);
  int calls = 3;
  while (calls == 3 && absl::Now() < patience) {
    calls = harness.server->WaitForCalls(absl::Milliseconds(1));
  }
  EXPECT_EQ(calls, 2);

  harness.executor.SetAutomatic();
  EXPECT_TRUE(running.Finish().status.ok());
  EXPECT_TRUE(queued.Finish().status.ok());
  EXPECT_EQ(harness.server->WaitForCalls(absl::Seconds(60)), 0);
}

TEST(ServerDrainTest, ReadinessFlipsAtOnceAndLivenessDoesNot) {
  ServerHarness harness;
  EXPECT_EQ(harness.Metric("skipstream_ready"), 1);
  OpenCall running = harness.Start("sampler { nfe: 3 }");
  harness.executor.WaitForBatches(1);
  harness.server->BeginDrain();
  EXPECT_EQ(harness.Health("readiness"), "NOT_SERVING");
  EXPECT_EQ(harness.Health("skipstream.v1.ImageGeneration"), "NOT_SERVING");
  EXPECT_EQ(harness.Health("liveness"), "SERVING");
  EXPECT_EQ(harness.Health(""), "SERVING");
  EXPECT_EQ(harness.Metric("skipstream_ready"), 0);
  harness.executor.SetAutomatic();
  EXPECT_TRUE(running.Finish().status.ok());
}

TEST(ServerDrainTest, WhatIsLeftIsCancelledWhenTheServerGoes) {
  ServerHarness harness;
  OpenCall stuck = harness.Start("sampler { nfe: 3 }");
  harness.executor.WaitForBatches(1);
  harness.server->BeginDrain();
  EXPECT_EQ(harness.server->WaitForCalls(absl::Milliseconds(1)), 1);
  harness.server.reset();
  EXPECT_FALSE(stuck.Finish().status.ok());
  EXPECT_TRUE(harness.engine.WaitIdle(absl::Seconds(60)));
  harness.executor.CompleteAll();
}

TEST(ServerHealthTest, TheDocumentedNamesAreServed) {
  ServerHarness harness;
  for (const char* service : {"", "liveness", "readiness", "skipstream.v1.ImageGeneration"}) {
    EXPECT_EQ(harness.Health(service), "SERVING") << service;
  }
  EXPECT_EQ(harness.Health("something else"), "");
}

TEST(ServerHealthTest, AnUnhealthyEngineIsNotReadyUntilABatchSucceeds) {
  ServerHarness::Options options;
  options.executor.automatic = true;
  options.engine.failures_until_unhealthy = 1;
  options.engine.unhealthy_retry = absl::Hours(1);
  ServerHarness harness(options);
  harness.executor.FailNextBatches(1, absl::InternalError("the device burned"));
  EXPECT_FALSE(harness.Generate("sampler { nfe: 3 }").status.ok());
  EXPECT_TRUE(harness.engine.WaitIdle(absl::Seconds(60)));
  EXPECT_EQ(harness.Health("readiness"), "NOT_SERVING");
  EXPECT_EQ(harness.Health("liveness"), "SERVING");
  EXPECT_TRUE(harness.Generate("sampler { nfe: 3 }").status.ok());
  EXPECT_TRUE(harness.engine.WaitIdle(absl::Seconds(60)));
  EXPECT_EQ(harness.Health("readiness"), "SERVING");
}

// The bytes of the reflection service's answer to list_services.
std::string ListServices(const ServerHarness& harness, grpc::Status* status) {
  grpc::GenericStub stub(harness.channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  next();
  // ServerReflectionRequest.list_services is string field 7.
  grpc::Slice request(std::string("\x3a\x01*"));
  call->WriteLast(grpc::ByteBuffer(&request, 1), grpc::WriteOptions(), nullptr);
  next();
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  const bool answered = next();
  call->Finish(status, nullptr);
  next();
  std::string bytes;
  if (answered) {
    std::vector<grpc::Slice> slices;
    response.Dump(&slices);
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
  }
  return bytes;
}

TEST(ServerReflectionTest, ListsTheServices) {
  ServerHarness harness;
  grpc::Status status;
  EXPECT_THAT(ListServices(harness, &status),
              AllOf(HasSubstr("skipstream.v1.ImageGeneration"),
                    HasSubstr("skipstream.v1.ModelControl"), HasSubstr("grpc.health.v1.Health")));
  EXPECT_TRUE(status.ok());
}

TEST(ServerReflectionTest, CanBeTurnedOff) {
  ServerHarness::Options options;
  options.server.reflection = false;
  ServerHarness harness(options);
  grpc::Status status;
  ListServices(harness, &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST(ServerTest, ListensOnWhateverTheAddressStandsFor) {
  for (const char* address : {"127.0.0.1:0", "0.0.0.0:0", "[::]:0", "localhost:0"}) {
    ServerHarness::Options options;
    options.listen = address;
    ServerHarness harness(options);  // its channel goes to 127.0.0.1
    EXPECT_GT(harness.server->port(), 0) << address;
    EXPECT_EQ(harness.Health("liveness"), "SERVING") << address;
  }
}

TEST(ModelListTest, TheDefaultModelComesFirst) {
  ServerHarness harness;
  harness.models.Add(LoadedModel::Load(harness.executor, "apple", "a.safetensors").value())
      .IgnoreError();
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(harness.stub->ListModels(&context, {}, &response).ok());
  ASSERT_THAT(response.models(), SizeIs(2));
  EXPECT_EQ(response.models(0).name(), "fruit");
  EXPECT_TRUE(response.models(0).is_default());
  EXPECT_EQ(response.models(0).num_classes(), 10);
  EXPECT_EQ(response.models(1).name(), "apple");
  EXPECT_FALSE(response.models(1).is_default());
}

TEST(ModelListTest, AModelIsDescribedWithWhatARequestMayAskFor) {
  ServerHarness harness;
  grpc::ClientContext context;
  v1::GetModelResponse model;
  ASSERT_TRUE(harness.stub->GetModel(&context, {}, &model).ok());
  EXPECT_EQ(model.name(), "fruit");
  EXPECT_TRUE(model.is_default());
  EXPECT_THAT(model.sha256(), SizeIs(64));
  EXPECT_EQ(model.num_skips(), 4);
  EXPECT_EQ(model.class_names(1), "banana");
  EXPECT_EQ(model.license(), "CC0-1.0");
  ASSERT_THAT(model.presets(), SizeIs(3));
  EXPECT_EQ(model.presets(0).skip_tuning().rho(), 0.9);
  EXPECT_EQ(model.presets(0).solver(), v1::SOLVER_UNSPECIFIED);
  EXPECT_EQ(model.presets(2).solver(), v1::SOLVER_EULER);
  EXPECT_EQ(model.limits().max_count(), 64);
  EXPECT_EQ(model.limits().max_scale(), 16);
  EXPECT_EQ(model.limits().sigma_max(), 1e6);
  EXPECT_EQ(model.limits().rho_max(), 2);
}

TEST(ModelListTest, APresetCanBeSentAsItIs) {
  ServerHarness::Options options;
  options.executor.automatic = true;
  ServerHarness harness(options);
  grpc::ClientContext context;
  v1::GetModelResponse model;
  ASSERT_TRUE(harness.stub->GetModel(&context, {}, &model).ok());
  for (const v1::Preset& preset : model.presets()) {
    v1::GenerateRequest request;
    *request.mutable_skip_tuning() = preset.skip_tuning();
    EXPECT_TRUE(harness.Generate(request).status.ok()) << preset.DebugString();
  }
}

TEST(ModelListTest, UnknownAndMalformedNamesAreTold) {
  ServerHarness harness;
  const auto get = [&](const std::string& name) {
    grpc::ClientContext context;
    v1::GetModelRequest request;
    request.set_model(name);
    v1::GetModelResponse response;
    return harness.stub->GetModel(&context, request, &response);
  };
  EXPECT_EQ(get("vegetable").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(FieldsOf(get("../fruit")), ElementsAre("model"));
}

}  // namespace
}  // namespace skipstream
