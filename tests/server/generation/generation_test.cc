// Requests with an id: who joins what, and what everybody hears.
#include "server/generation/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error_details.h"
#include "tests/server/generation/generation_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Event = v1::GenerateEvent;

constexpr absl::Duration kForever = absl::Minutes(4);

GenerationHarness::Options Automatic() {
  GenerationHarness::Options options;
  options.executor.automatic = true;
  return options;
}

// One image per slot, one slot: images finish one after the other, each after one batch.
GenerationHarness::Options OneByOne() {
  GenerationHarness::Options options;
  options.executor.num_slots = 1;
  return options;
}

constexpr char kThreeImages[] =
    "request_id: 'a' count: 3 sampler { solver: SOLVER_EULER nfe: 1 } "
    "output { format: IMAGE_FORMAT_RAW }";

// Runs the evaluation and the read-out of the `number`-th image of OneByOne().
void FinishImage(GenerationHarness& harness, int number) {
  harness.executor.WaitForBatches(number);
  harness.executor.CompleteBatch();
  // The engine queues the read-out right behind the batch.
  while (!harness.executor.CompleteNext()) std::this_thread::yield();
}

std::vector<std::string> ImagesOf(const std::vector<Event>& events) {
  std::vector<std::string> images;
  for (const Event& event : events) {
    if (!event.has_image()) continue;
    images.resize(std::max<size_t>(images.size(), event.image().image_index() + 1));
    std::string& image = images[event.image().image_index()];
    EXPECT_THAT(image, IsEmpty()) << "an image came twice";
    image = event.image().picture().data();
  }
  return images;
}

double Joined(GenerationHarness& harness, const std::string& how) {
  return harness.metrics.transport.retries_joined.With({how}).Value();
}

TEST(GenerationTest, ARetryJoinsTheRunningOneAndBothGetTheSame) {
  GenerationHarness harness;
  auto first = harness.Start("request_id: 'a' count: 2 sampler { nfe: 3 }");
  auto retry = harness.Start("request_id: 'a' count: 2 sampler { nfe: 3 }");
  EXPECT_EQ(harness.admission.outstanding_requests(), 1);
  harness.SetAutomatic();
  const std::vector<Event> told = first->ReadAll();
  const std::vector<Event> retold = retry->ReadAll();
  EXPECT_TRUE(first->status().ok());
  EXPECT_TRUE(retry->status().ok());
  EXPECT_EQ(told.front().SerializeAsString(), retold.front().SerializeAsString());
  EXPECT_EQ(told.front().accepted().request_id(), "a");
  EXPECT_EQ(told.back().SerializeAsString(), retold.back().SerializeAsString());
  ASSERT_THAT(ImagesOf(told), SizeIs(2));
  EXPECT_EQ(ImagesOf(told), ImagesOf(retold)) << "without seeds of its own, too";
  EXPECT_EQ(Joined(harness, "running"), 1);
  EXPECT_EQ(harness.metrics.transport.nfe.Collect().histogram.sample_count, 1);
}

TEST(GenerationTest, OneThatJoinsLateIsToldWhatItMissed) {
  GenerationHarness harness(OneByOne());
  auto first = harness.Start(kThreeImages);
  FinishImage(harness, 1);
  first->ReadUntil(Event::kImage);
  auto retry = harness.Start(kThreeImages);
  EXPECT_TRUE(retry->Read()->has_accepted());
  EXPECT_EQ(retry->Read()->image().image_index(), 0);
  FinishImage(harness, 2);
  FinishImage(harness, 3);
  EXPECT_THAT(retry->ReadKinds(), ElementsAre("image 1", "image 2", "completed"));
  EXPECT_THAT(first->ReadKinds(), ElementsAre("image 1", "image 2", "completed"));
}

TEST(GenerationTest, OneThatJoinsLateHearsTheLatestProgress) {
  GenerationHarness harness;
  auto first = harness.Start("request_id: 'a' sampler { nfe: 9 }");
  for (int done = 1; done <= 4; ++done) {
    harness.executor.WaitForBatches(done);
    harness.executor.CompleteBatch();
    first->ReadUntil(Event::kProgress);
  }
  auto retry = harness.Start("request_id: 'a' sampler { nfe: 9 }");
  EXPECT_TRUE(retry->Read()->has_accepted());
  const v1::Progress progress = retry->Read()->progress();
  EXPECT_EQ(progress.evaluations_done(), 4);
  EXPECT_EQ(progress.request_evaluations_done(), 4);
  EXPECT_EQ(progress.request_evaluations_total(), 9);
}

TEST(GenerationTest, OneThatJoinsLateHearsOfFailuresToo) {
  GenerationHarness::Options options = OneByOne();
  GenerationHarness harness(options);
  harness.executor.FailRow(/*seed=*/7, /*step=*/0, absl::InternalError("not finite"));
  const std::string request =
      "request_id: 'a' seeds: [7, 8] sampler { solver: SOLVER_EULER nfe: 1 }";
  auto first = harness.Start(request);
  harness.executor.WaitForBatches(1);
  harness.executor.CompleteBatch();
  first->ReadUntil(Event::kImageFailure);
  auto retry = harness.Start(request);
  harness.SetAutomatic();
  EXPECT_THAT(retry->ReadKinds(), ElementsAre("accepted", "failure 0", "image 1"));
  EXPECT_EQ(retry->status().code(), absl::StatusCode::kInternal);
}

TEST(GenerationTest, AFinishedOneIsAnsweredAgainWithoutTouchingTheEngine) {
  GenerationHarness harness(Automatic());
  const std::vector<Event> told = harness.Start(kThreeImages)->ReadAll();
  const size_t batches = harness.executor.batches().size();
  auto retry = harness.Start(kThreeImages);
  const std::vector<Event> retold = retry->ReadAll();
  EXPECT_TRUE(retry->status().ok());
  EXPECT_EQ(ImagesOf(told), ImagesOf(retold));
  ASSERT_THAT(retold, SizeIs(5));
  EXPECT_TRUE(retold.front().has_accepted());
  EXPECT_EQ(retold.back().SerializeAsString(), told.back().SerializeAsString());
  EXPECT_THAT(harness.executor.batches(), SizeIs(batches));
  EXPECT_EQ(Joined(harness, "finished"), 1);
  EXPECT_EQ(harness.metrics.transport.requests.With({"fruit", "euler", "OK"}).Value(), 2);
}

TEST(GenerationTest, WithoutAnIdEveryRequestIsNew) {
  GenerationHarness harness(Automatic());
  const auto once = ImagesOf(harness.Start("")->ReadAll());
  const auto again = ImagesOf(harness.Start("")->ReadAll());
  EXPECT_NE(once, again);
}

TEST(GenerationTest, AnIdThatNamesAnotherRequestIsAnError) {
  GenerationHarness harness;
  auto first = harness.Start("request_id: 'a' seeds: 1 sampler { nfe: 3 }");
  auto running = harness.Start("request_id: 'a' seeds: 2 sampler { nfe: 3 }");
  EXPECT_THAT(running->ReadAll(), IsEmpty());
  EXPECT_EQ(running->status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(GetReason(running->status()), "REQUEST_ID_REUSED");
  EXPECT_THAT(std::string(running->status().message()), HasSubstr("request_id"));
  harness.SetAutomatic();
  first->ReadAll();
  EXPECT_TRUE(first->status().ok()) << "the one that has the id is not disturbed";
  auto finished = harness.Start("request_id: 'a' seeds: 2 sampler { nfe: 3 }");
  EXPECT_EQ(finished->status().code(), absl::StatusCode::kAlreadyExists);
}

TEST(GenerationTest, TenantsDoNotShareIds) {
  GenerationHarness harness(Automatic());
  harness.Start("request_id: 'a' seeds: 1", absl::InfiniteFuture(), "one")->ReadAll();
  auto other = harness.Start("request_id: 'a' seeds: 2", absl::InfiniteFuture(), "two");
  other->ReadAll();
  EXPECT_TRUE(other->status().ok());
  EXPECT_EQ(Joined(harness, "finished"), 0);
}

TEST(GenerationTest, AMalformedIdIsReportedWithWhateverElseIsWrong) {
  GenerationHarness harness(Automatic());
  auto call = harness.Start(absl::StrCat("count: 0 request_id: '", std::string(129, 'x'), "'"));
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(call->status())) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, ElementsAre("request_id", "count"));
  EXPECT_EQ(harness.Start("request_id: '\\n'")->status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(GenerationTest, ARetryIsNotRefusedForTheLoadOfItsFirstTry) {
  GenerationHarness::Options options;
  options.admission.max_requests = 1;
  GenerationHarness harness(options);
  auto first = harness.Start("request_id: 'a' sampler { nfe: 3 }");
  EXPECT_EQ(GetReason(harness.Start("request_id: 'b'")->status()), "QUEUE_FULL");
  auto retry = harness.Start("request_id: 'a' sampler { nfe: 3 }");
  harness.SetAutomatic();
  retry->ReadAll();
  EXPECT_TRUE(retry->status().ok());
}

TEST(GenerationTest, ADrainingServerStillAnswersRetries) {
  GenerationHarness harness;
  auto first = harness.Start("request_id: 'a' sampler { nfe: 3 }");
  harness.admission.Close();
  auto running = harness.Start("request_id: 'a' sampler { nfe: 3 }");
  harness.SetAutomatic();
  running->ReadAll();
  EXPECT_TRUE(running->status().ok());
  auto finished = harness.Start("request_id: 'a' sampler { nfe: 3 }");
  finished->ReadAll();
  EXPECT_TRUE(finished->status().ok());
  EXPECT_EQ(GetReason(harness.Start("request_id: 'b'")->status()), "DRAINING");
}

TEST(GenerationTest, ARefusedOneLeavesItsIdFree) {
  GenerationHarness::Options options;
  options.admission.max_requests = 1;
  GenerationHarness harness(options);
  auto other = harness.Start("sampler { nfe: 3 }");
  EXPECT_EQ(GetReason(harness.Start("request_id: 'a'")->status()), "QUEUE_FULL");
  harness.SetAutomatic();
  other->ReadAll();
  auto retry = harness.Start("request_id: 'a'");
  retry->ReadAll();
  EXPECT_TRUE(retry->status().ok());
}

TEST(GenerationTest, TheFirstMayGoAndTheOneThatJoinedGetsEverything) {
  GenerationHarness harness(OneByOne());
  auto first = harness.Start(kThreeImages);
  FinishImage(harness, 1);
  first->ReadUntil(Event::kImage);
  auto retry = harness.Start(kThreeImages);
  first->Disconnect();
  first->ReadAll();
  EXPECT_EQ(first->status().code(), absl::StatusCode::kCancelled);
  harness.SetAutomatic();
  EXPECT_THAT(retry->ReadKinds(),
              ElementsAre("accepted", "image 0", "image 1", "image 2", "completed"));
  EXPECT_TRUE(retry->status().ok());
}

TEST(GenerationTest, WhenTheLastReaderGoesTheJobIsCancelledAndTheIdForgotten) {
  GenerationHarness harness;
  const std::string request =
      "request_id: 'a' sampler { nfe: 9 } output { format: IMAGE_FORMAT_RAW }";
  auto first = harness.Start(request);
  auto retry = harness.Start(request);
  harness.executor.WaitForBatches(1);
  first->Disconnect();
  EXPECT_FALSE(harness.engine.WaitIdle(absl::ZeroDuration())) << "one is still reading";
  retry->Disconnect();
  harness.executor.CompleteAll();
  EXPECT_TRUE(harness.engine.WaitIdle(kForever));
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  first->ReadAll();
  retry->ReadAll();
  EXPECT_EQ(harness.admission.outstanding_requests(), 0);

  auto anew = harness.Start(request);
  EXPECT_EQ(harness.admission.outstanding_requests(), 1);
  harness.SetAutomatic();
  EXPECT_THAT(anew->ReadKinds(), ElementsAre("accepted", "image 0", "completed"));
  EXPECT_EQ(Joined(harness, "running"), 1);
  EXPECT_EQ(Joined(harness, "finished"), 0) << "what was cancelled is no result";
}

TEST(GenerationTest, ImagesOfACancelledOneDoNotWaitForTheEncoder) {
  GenerationHarness harness;
  harness.SetAutomatic();
  std::latch encoder_is_free(1);
  harness.encoders->Submit([&] { encoder_is_free.wait(); });
  auto call = harness.Start("count: 3 sampler { nfe: 1 }");
  EXPECT_TRUE(harness.engine.WaitIdle(kForever));
  call->Disconnect();
  call->ReadAll();
  call.reset();
  // Nothing holds it but, for a moment, the engine.
  const absl::Time patience = absl::Now() + absl::Seconds(20);
  while (harness.environment.use_count() > 1 && absl::Now() < patience) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(harness.environment.use_count(), 1);
  encoder_is_free.count_down();
}

TEST(GenerationTest, OnlySoManyReadTheSame) {
  GenerationHarness harness;
  std::vector<std::unique_ptr<TestCall>> calls;
  for (int i = 0; i < kMaxSubscribers; ++i) calls.push_back(harness.Start(kThreeImages));
  const auto refused = harness.Start(kThreeImages);
  EXPECT_EQ(GetReason(refused->status()), "TOO_MANY_READERS");
  EXPECT_TRUE(GetRetryAfter(refused->status()).has_value());
  calls.pop_back();
  calls.push_back(harness.Start(kThreeImages));
  harness.SetAutomatic();
  for (const auto& call : calls) {
    EXPECT_THAT(call->ReadKinds(), SizeIs(5));
    EXPECT_EQ(call->status(), absl::OkStatus());
  }
}

TEST(GenerationTest, AFailedOneIsTriedAgain) {
  GenerationHarness harness(Automatic());
  harness.executor.FailNextBatches(1, absl::InternalError("the device burned"));
  auto failed = harness.Start(kThreeImages);
  failed->ReadAll();
  EXPECT_FALSE(failed->status().ok());
  auto retry = harness.Start(kThreeImages);
  EXPECT_THAT(retry->ReadKinds(), SizeIs(5));
  EXPECT_TRUE(retry->status().ok());
}

TEST(GenerationTest, AReaderThatStallsDoesNotHoldUpTheOneBesideIt) {
  GenerationHarness::Options options;
  options.executor.info.height = options.executor.info.width = 64;  // 12 KiB an image
  options.executor.num_slots = 1;
  options.max_outbox_bytes = 60'000;
  GenerationHarness harness(options);
  const std::string request =
      "request_id: 'a' count: 12 sampler { solver: SOLVER_EULER nfe: 1 } "
      "output { format: IMAGE_FORMAT_RAW }";
  auto stalled = harness.Start(request);
  auto reader = harness.Start(request);
  for (int i = 1; i <= 12; ++i) {
    FinishImage(harness, i);
    EXPECT_EQ(reader->ReadUntil(Event::kImage).image().image_index(), i - 1);
  }
  reader->ReadUntil(Event::kCompleted);
  EXPECT_FALSE(reader->Read());
  EXPECT_TRUE(reader->status().ok());
  stalled->ReadAll();
  EXPECT_EQ(stalled->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetReason(stalled->status()), "SLOW_READER");
  EXPECT_FALSE(GetRetryAfter(stalled->status()));
}

TEST(GenerationTest, MoreThanIsKeptCannotBeJoinedAndStartsAnew) {
  GenerationHarness::Options options = OneByOne();
  options.executor.info.height = options.executor.info.width = 64;  // 12 KiB an image
  options.max_outbox_bytes = 30'000;
  GenerationHarness harness(options);
  auto first = harness.Start(kThreeImages);
  for (int i = 1; i <= 3; ++i) {
    FinishImage(harness, i);
    first->ReadUntil(Event::kImage);
  }
  first->ReadAll();
  EXPECT_TRUE(first->status().ok()) << "its reader has all the same";
  harness.SetAutomatic();
  auto retry = harness.Start(kThreeImages);
  retry->ReadAll();
  EXPECT_EQ(Joined(harness, "running") + Joined(harness, "finished"), 0);
  EXPECT_EQ(harness.metrics.transport.result_cache_bytes.Value(), 0);
}

TEST(GenerationTest, AReaderWithMoreTimeMovesTheDeadline) {
  GenerationHarness harness;
  const std::string request = "request_id: 'a' sampler { nfe: 3 }";
  const absl::Time now = harness.clock.Now();
  auto first = harness.Start(request, now + absl::Seconds(1));
  auto retry = harness.Start(request, now + absl::Minutes(10));
  harness.executor.WaitForBatches(1);
  harness.clock.Advance(absl::Seconds(2));
  harness.executor.CompleteBatch();  // the engine wakes and looks at the clock
  harness.executor.WaitForBatches(2);
  first->Disconnect();  // as gRPC does when a deadline has passed
  first->ReadAll();
  EXPECT_EQ(first->status().code(), absl::StatusCode::kDeadlineExceeded);
  harness.SetAutomatic();
  EXPECT_THAT(retry->ReadKinds(), ElementsAre("accepted", "image 0", "completed"));
  EXPECT_TRUE(retry->status().ok());
}

TEST(GenerationTest, ResultsAreKeptForAWhile) {
  GenerationHarness harness(Automatic());
  const auto made = ImagesOf(harness.Start("request_id: 'a' count: 2")->ReadAll());
  harness.clock.Advance(absl::Seconds(119));
  EXPECT_EQ(ImagesOf(harness.Start("request_id: 'a' count: 2")->ReadAll()), made);
  harness.clock.Advance(absl::Seconds(2));
  EXPECT_NE(ImagesOf(harness.Start("request_id: 'a' count: 2")->ReadAll()), made);
  EXPECT_EQ(Joined(harness, "finished"), 1);
}

TEST(GenerationTest, TwoAtTheSameMomentAreOneGeneration) {
  GenerationHarness harness(Automatic());
  for (int round = 0; round < 50; ++round) {
    const std::string request =
        absl::StrCat("request_id: '", round, "' count: 2 sampler { nfe: 1 }");
    std::vector<std::vector<std::string>> images(4);
    std::vector<std::thread> threads;
    for (auto& result : images) {
      threads.emplace_back([&] { result = ImagesOf(harness.Start(request)->ReadAll()); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& result : images) {
      ASSERT_THAT(result, SizeIs(2));
      EXPECT_EQ(result, images[0]);
    }
  }
  EXPECT_EQ(harness.metrics.transport.nfe.Collect().histogram.sample_count, 50);
}

TEST(GenerationTest, ReadersThatComeAndGoLeakNothing) {
  GenerationHarness harness(Automatic());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&harness, thread] {
      for (int round = 0; round < 60; ++round) {
        auto call = harness.Start(absl::StrCat("request_id: '", round / 3,
                                               "' count: 2 sampler { nfe: 5 } "
                                               "output { preview_every: 1 }"));
        for (int i = (round * 7 + thread * 3) % 9; i > 0 && call->Read(); --i) {
        }
        if ((round + thread) % 3 == 0) {
          EXPECT_THAT(ImagesOf(call->ReadAll()), SizeIs(::testing::Le(2u)));
          EXPECT_TRUE(call->status().ok()) << call->status();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(harness.engine.WaitIdle(kForever));
  harness.WaitForEncoders();
  EXPECT_EQ(harness.admission.outstanding_requests(), 0);
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

}  // namespace
}  // namespace skipstream
