// Generate over real gRPC on a loopback port.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/rpc/server_harness.h"

namespace skipstream {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Event = v1::GenerateEvent;

ServerHarness::Options Automatic() {
  ServerHarness::Options options;
  options.executor.automatic = true;
  return options;
}

// The text of a tEXt chunk of a PNG.
std::string PngText(const std::string& png, const std::string& key) {
  const size_t start = png.find(absl::StrCat("tEXt", key, std::string(1, '\0')));
  if (start == std::string::npos) return "";
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(png[start - 4 + i]); };
  const size_t length = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
  return png.substr(start + 4 + key.size() + 1, length - key.size() - 1);
}

TEST(GenerateTest, AcceptedComesFirstAndCompletedLast) {
  ServerHarness harness(Automatic());
  const CallResult result = harness.Generate("seeds: [3, 14] sampler { nfe: 5 }");
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_TRUE(result.events.front().has_accepted());
  ASSERT_TRUE(result.events.back().has_completed());
  EXPECT_EQ(result.completed().server_version(), "1.2.3");
  EXPECT_EQ(result.completed().evaluations(), 10);
  EXPECT_EQ(result.completed().denoiser_calls(), 10);
  EXPECT_GE(result.completed().total_seconds(), result.completed().run_seconds());

  const std::vector<v1::Image> images = result.Images();
  ASSERT_THAT(images, SizeIs(2));
  EXPECT_EQ(images[1].seed(), 14u);
  EXPECT_EQ(images[1].class_index(), 4);
  EXPECT_EQ(images[1].class_name(), "elderberry");
  EXPECT_EQ(images[1].picture().width(), 4);
  EXPECT_EQ(images[1].picture().format(), v1::IMAGE_FORMAT_PNG);
  EXPECT_NE(images[0].picture().data(), images[1].picture().data());
}

TEST(GenerateTest, ProgressFollowsTheEvaluations) {
  ServerHarness harness;
  OpenCall call = harness.Start("sampler { nfe: 3 }");
  EXPECT_TRUE(call.Read().has_accepted());
  for (int done = 1; done <= 3; ++done) {
    harness.executor.WaitForBatches(done);
    harness.executor.CompleteBatch();
    const v1::Progress progress = call.Read().progress();
    EXPECT_EQ(progress.evaluations_done(), done);
    EXPECT_EQ(progress.evaluations_total(), 3);
    EXPECT_EQ(progress.request_evaluations_done(), done);
  }
  harness.executor.CompleteAll();
  const CallResult rest = call.Finish();
  ASSERT_THAT(rest.events, SizeIs(2));
  EXPECT_TRUE(rest.events[0].has_image());
  EXPECT_TRUE(rest.events[1].has_completed());
}

TEST(GenerateTest, PreviewsComeEveryFewEvaluationsInTheFormatOfTheRequest) {
  ServerHarness harness;
  OpenCall call = harness.Start(
      "sampler { nfe: 5 } output { preview_every: 2 format: IMAGE_FORMAT_RAW scale: 2 }");
  std::vector<int> previews;
  for (int step = 1; step <= 4; ++step) {
    harness.executor.WaitForBatches(step);
    harness.executor.CompleteBatch();
    if (step % 2 != 0) continue;
    // The engine queues the preview in front of the next row.
    harness.executor.WaitForBatches(step + 1);
    harness.executor.CompleteNext();
    const v1::Preview preview = call.ReadUntil(Event::kPreview).preview();
    previews.push_back(preview.evaluations_done());
    EXPECT_EQ(preview.picture().format(), v1::IMAGE_FORMAT_RAW);
    EXPECT_EQ(preview.picture().width(), 8);
    EXPECT_THAT(preview.picture().data(), SizeIs(8 * 8 * 3));
  }
  EXPECT_THAT(previews, ElementsAre(2, 4));
  harness.executor.SetAutomatic();
  EXPECT_TRUE(call.Finish().status.ok());
}

TEST(GenerateTest, TheRequestInsideAPngGivesTheSamePng) {
  ServerHarness harness(Automatic());
  const CallResult first = harness.Generate(
      "count: 3 classes { name: 'fig' } sampler { nfe: 7 churn { s_churn: 5 } } "
      "skip_tuning { linear { bottom: 0.7 top: 1.1 } noise { ramp {} } } output { scale: 3 }");
  ASSERT_THAT(first.Images(), SizeIs(3));
  for (const v1::Image& image : first.Images()) {
    const std::string png = image.picture().data();
    EXPECT_EQ(PngText(png, "Software"), "Skipstream 1.2.3");
    v1::GenerateRequest replay;
    ASSERT_TRUE(
        google::protobuf::util::JsonStringToMessage(PngText(png, "skipstream.request"), &replay)
            .ok());
    const CallResult again = harness.Generate(replay);
    ASSERT_THAT(again.Images(), SizeIs(1)) << again.status.error_message();
    EXPECT_EQ(again.Images()[0].picture().data(), png);
  }
}

TEST(GenerateTest, TheResolvedRequestGivesTheSameImages) {
  ServerHarness harness(Automatic());
  const CallResult first = harness.Generate("count: 4 skip_tuning { preset: 'default' }");
  const CallResult again = harness.Generate(first.completed().resolved_request());
  ASSERT_THAT(again.Images(), SizeIs(4));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(first.Images()[i].picture().data(), again.Images()[i].picture().data());
  }
}

TEST(GenerateTest, CancellingFreesTheSlotForTheNextOne) {
  ServerHarness::Options options;
  options.executor.num_slots = 1;
  ServerHarness harness(options);
  OpenCall cancelled = harness.Start("sampler { nfe: 9 }");
  harness.executor.WaitForBatches(1);
  OpenCall next = harness.Start("sampler { nfe: 3 }");
  EXPECT_TRUE(next.Read().has_accepted());
  cancelled.Cancel();
  EXPECT_EQ(cancelled.Finish().status.error_code(), grpc::StatusCode::CANCELLED);
  harness.executor.SetAutomatic();
  EXPECT_TRUE(next.Finish().status.ok());
  EXPECT_TRUE(harness.engine.WaitIdle(absl::Seconds(60)));
  EXPECT_EQ(harness.server->WaitForCalls(absl::Seconds(60)), 0);
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  EXPECT_EQ(harness.admission.outstanding_requests(), 0);
  EXPECT_EQ(
      harness.Metric(R"(skipstream_requests_total{code="CANCELLED",model="fruit",solver="heun"})"),
      1);
}

TEST(GenerateTest, RandomCancelsUnderLoadLeakNothing) {
  ServerHarness::Options options = Automatic();
  options.executor.num_slots = 4;
  ServerHarness harness(options);
  for (int round = 0; round < 25; ++round) {
    std::vector<std::unique_ptr<OpenCall>> calls;
    for (int i = 0; i < 8; ++i) {
      calls.push_back(std::make_unique<OpenCall>(
          *harness.stub,
          Request(absl::StrCat("count: ", 1 + i % 3, " sampler { nfe: ", 2 * i + 1,
                               " } output { preview_every: 1 }")),
          absl::Seconds(60)));
    }
    for (int i = 0; i < 8; ++i) {
      if (i % 4 == 3) continue;
      calls[i]->Skip((round * 7 + i * 3) % 10);
      calls[i]->Cancel();
    }
    for (int i = 0; i < 8; ++i) {
      const grpc::StatusCode code = calls[i]->Finish().status.error_code();
      if (i % 4 == 3) {
        EXPECT_EQ(code, grpc::StatusCode::OK);
      }
    }
  }
  EXPECT_EQ(harness.server->WaitForCalls(absl::Seconds(60)), 0);
  EXPECT_TRUE(harness.engine.WaitIdle(absl::Seconds(60)));
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  EXPECT_EQ(harness.admission.outstanding_evaluations(), 0);
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

TEST(GenerateTest, ADeadlineEndsTheCallOnTheServerToo) {
  ServerHarness harness;
  OpenCall call = harness.Start("", absl::Milliseconds(200));
  EXPECT_EQ(call.Finish().status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(harness.engine.WaitIdle(absl::Seconds(60)));
  EXPECT_EQ(harness.server->WaitForCalls(absl::Seconds(60)), 0);
  EXPECT_EQ(
      harness.Metric(
          R"(skipstream_requests_total{code="DEADLINE_EXCEEDED",model="fruit",solver="heun"})"),
      1);
  harness.executor.CompleteAll();
}

TEST(GenerateTest, ARetryJoinsTheRunningOneWhoseClientThenGoes) {
  ServerHarness harness;
  const std::string request = "request_id: 'a' sampler { nfe: 3 }";
  OpenCall first = harness.Start(request);
  EXPECT_EQ(first.Read().accepted().request_id(), "a");
  OpenCall retry = harness.Start(request);
  EXPECT_TRUE(retry.Read().has_accepted());
  first.Cancel();
  EXPECT_EQ(first.Finish().status.error_code(), grpc::StatusCode::CANCELLED);
  harness.executor.SetAutomatic();
  const CallResult result = retry.Finish();
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_THAT(result.Images(), SizeIs(1));
  EXPECT_EQ(result.completed().resolved_request().request_id(), "");

  const CallResult again = harness.Generate(request);
  ASSERT_THAT(again.Images(), SizeIs(1));
  EXPECT_EQ(again.Images()[0].SerializeAsString(), result.Images()[0].SerializeAsString());
  EXPECT_EQ(harness.Metric(R"(skipstream_retries_joined_total{how="running"})"), 1);
  EXPECT_EQ(harness.Metric(R"(skipstream_retries_joined_total{how="finished"})"), 1);
  EXPECT_EQ(harness.Metric("skipstream_nfe_count"), 1);
}

TEST(GenerateTest, AnIdOfAnotherRequestIsAlreadyTaken) {
  ServerHarness harness(Automatic());
  EXPECT_TRUE(harness.Generate("request_id: 'a' seeds: 1").status.ok());
  const CallResult refused = harness.Generate("request_id: 'a' seeds: 2");
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ReasonOf(refused.status), "REQUEST_ID_REUSED");
  EXPECT_FALSE(HasRetryInfo(refused.status));
}

TEST(GenerateTest, AnExecutorFailureIsAnErrorAndTheServiceGoesOn) {
  ServerHarness harness(Automatic());
  harness.executor.FailNextBatches(1, absl::InternalError("the device burned"));
  const CallResult failed = harness.Generate("sampler { nfe: 3 }");
  EXPECT_EQ(failed.status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(failed.status.error_message(), HasSubstr("the device burned"));
  EXPECT_EQ(ReasonOf(failed.status), "EXECUTOR_FAILED");
  EXPECT_TRUE(harness.Generate("sampler { nfe: 3 }").status.ok());
}

TEST(GenerateTest, OneFailingImageLeavesTheOthers) {
  ServerHarness harness(Automatic());
  harness.executor.FailRow(/*seed=*/2, /*step=*/1, absl::InternalError("the image is not finite"));
  const CallResult result = harness.Generate("seeds: [1, 2, 3] sampler { nfe: 3 }");
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INTERNAL);
  ASSERT_THAT(result.Images(), SizeIs(2));
  EXPECT_EQ(result.Images()[1].seed(), 3u);
  int failures = 0;
  for (const Event& event : result.events) {
    if (!event.has_image_failure()) continue;
    ++failures;
    EXPECT_EQ(event.image_failure().image_index(), 1);
    EXPECT_EQ(event.image_failure().code(), static_cast<int>(grpc::StatusCode::INTERNAL));
    EXPECT_THAT(event.image_failure().message(), HasSubstr("not finite"));
  }
  EXPECT_EQ(failures, 1);
}

TEST(GenerateTest, AReaderThatDoesNotReadLosesItsRequestAndNobodyElses) {
  ServerHarness::Options options = Automatic();
  options.executor.info.height = options.executor.info.width = 64;
  options.server.max_outbox_bytes = 1 << 20;
  ServerHarness harness(options);
  // 32 images of 3 MiB: more than gRPC, the kernel and the outbox take.
  OpenCall slow =
      harness.Start("count: 32 sampler { nfe: 1 } output { format: IMAGE_FORMAT_RAW scale: 16 }");
  EXPECT_TRUE(slow.Read().has_accepted());
  // A client on another connection is served meanwhile. Requests take turns at the one encoder, so
  // all images of the slow one have been encoded then.
  EXPECT_TRUE(harness.engine.WaitIdle(absl::Seconds(60)));
  auto other = v1::ImageGeneration::NewStub(harness.NewChannel());
  for (int i = 0; i < 33; ++i) {
    OpenCall call(*other, Request("sampler { nfe: 1 }"), absl::Seconds(60));
    EXPECT_TRUE(call.Finish().status.ok());
  }

  const CallResult result = slow.Finish();
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(result.status), "SLOW_READER");
  EXPECT_FALSE(HasRetryInfo(result.status));
  EXPECT_LT(result.Images().size(), 32u);
}

TEST(GenerateTest, AFullQueueSaysWhenToComeBack) {
  ServerHarness::Options options;
  options.admission.max_requests = 1;
  ServerHarness harness(options);
  OpenCall first = harness.Start("sampler { nfe: 3 }");
  EXPECT_TRUE(first.Read().has_accepted());
  const CallResult refused = harness.Generate("");
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused.status), "QUEUE_FULL");
  EXPECT_TRUE(HasRetryInfo(refused.status));
  EXPECT_EQ(harness.Metric(R"(skipstream_rejected_total{reason="QUEUE_FULL"})"), 1);
  harness.executor.SetAutomatic();
  EXPECT_TRUE(first.Finish().status.ok());
}

TEST(GenerateTest, ARequestLargerThanTheServerTakesIsNotWorthARetry) {
  ServerHarness::Options options = Automatic();
  options.admission.max_evaluations = 100;
  ServerHarness harness(options);
  const CallResult refused = harness.Generate("count: 10 sampler { nfe: 19 }");
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused.status), "REQUEST_TOO_LARGE");
  EXPECT_FALSE(HasRetryInfo(refused.status));
}

TEST(GenerateTest, BadRequestsNameTheirFieldsAndTheServiceStaysUp) {
  ServerHarness harness(Automatic());
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"count: 0", "count"},
      {"sampler { nfe: 18 }", "sampler.nfe"},
      {"sampler { solver: 99 }", "sampler.solver"},
      {"skip_tuning { rho: nan }", "skip_tuning.rho"},
      {"skip_tuning { explicit_rho { rho: [1, 2] } }", "skip_tuning.explicit_rho.rho"},
      {"classes { name: 'submarine' }", "classes[0].name"},
      {absl::StrCat("classes { name: '", std::string(100'000, 'x'), "' }"), "classes[0].name"},
  };
  for (const auto& [request, field] : bad) {
    const CallResult result = harness.Generate(request);
    EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << field;
    EXPECT_THAT(FieldsOf(result.status), ElementsAre(field));
    EXPECT_THAT(result.status.error_message(), HasSubstr(field));
    EXPECT_THAT(result.events, IsEmpty());
  }
  EXPECT_EQ(harness.Metric(
                R"(skipstream_requests_total{code="INVALID_ARGUMENT",model="fruit",solver=""})"),
            static_cast<double>(bad.size()));
  EXPECT_TRUE(harness.Generate("").status.ok());
}

TEST(GenerateTest, ABadRequestAtItsWorstStillArrivesWithItsDetails) {
  ServerHarness harness(Automatic());
  v1::GenerateRequest request;
  std::string name;
  for (int i = 0; i < 120; ++i) name += "\u20ac";
  for (int i = 0; i < 64; ++i) request.add_classes()->set_name(name);
  const CallResult result = harness.Generate(request);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_FALSE(FieldsOf(result.status).empty());
}

TEST(GenerateTest, AMessageOverTheLimitIsRefusedBeforeItIsRead) {
  ServerHarness harness(Automatic());
  v1::GenerateRequest request;
  request.set_model(std::string(6 << 20, 'x'));
  EXPECT_EQ(harness.Generate(request).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(harness.Generate("").status.ok());
}

TEST(GenerateTest, AGuidedCallIsOneCallAndTwoEvaluations) {
  ServerHarness::Options options = Automatic();
  options.executor.info.label_dropout = 0.1;
  ServerHarness harness(options);
  const CallResult result = harness.Generate(
      "count: 2 guidance { scale: 2 sigma_lo: 2 } "
      "sampler { solver: SOLVER_EULER explicit_levels { sigmas: [5, 2, 1] } }");
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.completed().evaluations(), 2 * 5);
  EXPECT_EQ(result.completed().denoiser_calls(), 2 * 3);
  int progress = 0;
  for (const v1::GenerateEvent& event : result.events) {
    if (!event.has_progress()) continue;
    EXPECT_EQ(event.progress().evaluations_total(), 3);
    progress = std::max(progress, event.progress().evaluations_done());
  }
  EXPECT_EQ(progress, 3);
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

TEST(GenerateTest, AGuideIsASecondModelOfTheServer) {
  ServerHarness harness(Automatic());
  ASSERT_TRUE(
      harness.models.Add(LoadedModel::Load(harness.executor, "weak", "weak.safetensors").value())
          .ok());
  const CallResult result =
      harness.Generate("sampler { nfe: 3 } guidance { scale: 2 guide_model: 'weak' }");
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.completed().evaluations(), 6);
  EXPECT_EQ(result.Images()[0].resolved_request().guidance().guide_model(), "weak");
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
  const std::string evaluations = "skipstream_evaluations_total";
  EXPECT_EQ(harness.Metric(evaluations + R"({model="fruit"})"), 3);
  EXPECT_EQ(harness.Metric(evaluations + R"({model="weak"})"), 3);
}

TEST(GenerateTest, AImageTravelsInTheRequestOfItsImage) {
  ServerHarness harness(Automatic());
  v1::GenerateRequest request = Request("sampler { nfe: 3 }");
  request.mutable_input_image()->set_picture(std::string(48, '\xF0'));
  request.mutable_input_image()->set_mask(std::string(16, '\x0F'));
  const CallResult result = harness.Generate(request);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  const v1::Image image = result.Images()[0];
  EXPECT_EQ(image.resolved_request().input_image().picture(), std::string(48, '\xF0'));
  v1::GenerateRequest carried;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(
                  PngText(image.picture().data(), "skipstream.request"), &carried)
                  .ok());
  EXPECT_TRUE(MessageDifferencer::Equals(carried, image.resolved_request()));
  const CallResult again = harness.Generate(carried);
  ASSERT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again.Images()[0].picture().data(), image.picture().data());
}

TEST(GenerateTest, EveryCallIsCountedOnceByModelSolverAndCode) {
  ServerHarness harness(Automatic());
  harness.Generate("sampler { solver: SOLVER_EULER nfe: 2 }");
  harness.Generate("sampler { nfe: 3 }");
  harness.Generate("sampler { nfe: 3 }");
  harness.Generate("model: 'vegetable'");
  EXPECT_EQ(harness.server->WaitForCalls(absl::Seconds(60)), 0);
  const auto requests = [&](const std::string& labels) {
    return harness.Metric(absl::StrCat("skipstream_requests_total{", labels, "}"));
  };
  EXPECT_EQ(requests(R"(code="OK",model="fruit",solver="euler")"), 1);
  EXPECT_EQ(requests(R"(code="OK",model="fruit",solver="heun")"), 2);
  EXPECT_EQ(requests(R"(code="NOT_FOUND",model="",solver="")"), 1);
  EXPECT_EQ(harness.Metric("skipstream_nfe_count"), 3);
  EXPECT_EQ(harness.Metric("skipstream_time_to_first_image_seconds_count"), 3);
  EXPECT_EQ(harness.Metric(R"(skipstream_encode_seconds_count{format="png"})"), 3);
  EXPECT_EQ(harness.Metric(R"(skipstream_request_duration_seconds_count{model="fruit"})"), 3);
}

}  // namespace
}  // namespace skipstream
