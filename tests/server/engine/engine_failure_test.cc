// Tests that a failure affects only the samples that it belongs to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "base/error_details.h"
#include "tests/server/engine/engine_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Status kNotFinite = absl::InternalError("the sample is not finite");
const absl::Status kDeviceLost = absl::UnavailableError("device lost");

TEST(EngineFailureTest, RowThatIsNotFiniteFailsItsSampleAlone) {
  EngineHarness harness;
  harness.executor.FailRow(/*seed=*/2, /*step=*/3, kNotFinite);
  const auto job = harness.Add(MakePlan(9), {1, 2, 3, 4});
  const auto neighbour = harness.Add(MakePlan(9), {5});
  harness.RunUntilIdle();

  const RecordingSink::State state = job.state();
  EXPECT_EQ(state.images.size(), 3u);
  for (const int sample : {0, 2, 3}) {
    EXPECT_EQ(state.images.at(sample).data, ImageMadeAlone(MakePlan(9), sample + 1));
  }
  ASSERT_EQ(state.failures.size(), 1u);
  EXPECT_EQ(state.failures.at(1).message(), "the sample is not finite");
  EXPECT_EQ(GetReason(state.failures.at(1)), "SAMPLE_FAILED");
  EXPECT_TRUE(absl::IsInternal(*state.finished));
  EXPECT_EQ(state.finished->message(), "1 of 4 images failed: the sample is not finite");
  EXPECT_EQ(GetReason(*state.finished), "SAMPLE_FAILED");
  EXPECT_THAT(state.violations, IsEmpty());
  EXPECT_EQ(neighbour.finished(), absl::OkStatus());
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  EXPECT_EQ(harness.metrics.engine.executor_failures.Value(), 0);
}

TEST(EngineFailureTest, FailedSampleIsInNoLaterBatch) {
  EngineHarness harness({.max_in_flight = 2});
  harness.executor.FailRow(1, 0, kNotFinite);
  harness.Add(MakePlan(9), {1, 2});
  harness.RunUntilIdle();
  const auto batches = harness.executor.batches();
  ASSERT_EQ(batches.size(), 9u);
  // Two were in flight when the failure was reported.
  for (size_t i = 2; i < batches.size(); ++i) EXPECT_THAT(Seeds(batches[i]), ElementsAre(2));
}

TEST(EngineFailureTest, BadLastRowDeliversNoImageAlthoughTheReadOutWorked) {
  EngineHarness harness;
  harness.executor.FailRow(1, 1, kNotFinite);
  const auto job = harness.Add(MakePlan(2), {1});
  harness.RunUntilIdle();
  EXPECT_THAT(job.state().events,
              ElementsAre("accepted", "progress 0 1/2", "failed 0", "finished INTERNAL"));
  EXPECT_EQ(job.finished()->message(), "1 of 1 image failed: the sample is not finite");
}

// Keeps what the executor reports until the test passes it on.
class HoldingListener final : public ExecutorListener {
 public:
  void OnBatchDone(BatchResult result) override { batches.push_back(std::move(result)); }
  void OnReadOut(ReadOutResult result) override { read_outs.push_back(std::move(result)); }

  std::vector<BatchResult> batches;
  std::vector<ReadOutResult> read_outs;
};

TEST(EngineFailureTest, ImageIsHeldBackUntilItsLastRowIsKnownToBeGood) {
  for (const bool good : {true, false}) {
    HoldingListener held;
    EngineHarness harness;
    harness.executor.SetListener(&held);
    if (!good) harness.executor.FailRow(1, 0, kNotFinite);
    const auto job = harness.Add(MakePlan(1), {1});
    harness.engine.Step();
    harness.executor.CompleteAll();

    harness.engine.OnReadOut(held.read_outs.at(0));
    EXPECT_THAT(job.state().events, ElementsAre("accepted"));
    harness.engine.OnBatchDone(held.batches.at(0));
    EXPECT_EQ(job.state().images.size(), good ? 1u : 0u);
    EXPECT_EQ(job.finished()->ok(), good);
  }
}

TEST(EngineFailureTest, FailedBatchFailsItsRowsAndTheServiceGoesOn) {
  EngineHarness harness({.max_batch = 2});
  harness.executor.FailNextBatches(1, kDeviceLost);
  const auto job = harness.Add(MakePlan(2), {1, 2, 3});
  harness.RunUntilIdle();
  const RecordingSink::State state = job.state();
  EXPECT_EQ(state.failures.size(), 2u);
  EXPECT_EQ(GetReason(state.failures.at(0)), "EXECUTOR_FAILED");
  EXPECT_EQ(state.images.size(), 1u);
  EXPECT_EQ(state.finished->message(), "2 of 3 images failed: device lost");
  EXPECT_EQ(GetReason(*state.finished), "EXECUTOR_FAILED");
  EXPECT_EQ(harness.metrics.engine.executor_failures.Value(), 1);
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  EXPECT_TRUE(harness.engine.healthy());

  const auto next = harness.Add(MakePlan(2), {4});
  harness.RunUntilIdle();
  EXPECT_EQ(next.finished(), absl::OkStatus());
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

TEST(EngineFailureTest, FailedBatchWithAnotherOneOfTheSameSampleInFlight) {
  EngineHarness harness({.max_in_flight = 2});
  harness.executor.FailNextBatches(1, kDeviceLost);
  const auto job = harness.Add(MakePlan(5), {1});
  harness.RunUntilIdle();
  EXPECT_THAT(job.state().events, ElementsAre("accepted", "failed 0", "finished INTERNAL"));
  EXPECT_TRUE(harness.engine.executor_idle());
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
}

TEST(EngineFailureTest, FailedReadOutFailsItsSample) {
  EngineHarness harness;
  harness.executor.FailReadOut(1, ReadOutKind::kFinal, absl::InternalError("copy failed"));
  const auto job = harness.Add(MakePlan(2), {1, 2});
  harness.RunUntilIdle();
  EXPECT_EQ(job.state().failures.count(0), 1u);
  EXPECT_EQ(job.state().images.count(1), 1u);
  EXPECT_EQ(job.finished()->message(), "1 of 2 images failed: copy failed");
  EXPECT_EQ(harness.metrics.engine.executor_failures.Value(), 1);
}

TEST(EngineFailureTest, FailedPreviewFailsItsSample) {
  EngineHarness harness;
  harness.executor.FailReadOut(1, ReadOutKind::kPreview, absl::InternalError("copy failed"));
  const auto job = harness.Add(MakePlan(5), {1}, {.preview_every = 2});
  harness.RunUntilIdle();
  EXPECT_EQ(job.state().failures.count(0), 1u);
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
}

TEST(EngineFailureTest, SampleThatCannotStartFailsAlone) {
  EngineHarness harness;
  harness.executor.FailAllocation(1, absl::InternalError("no generator"));
  const auto job = harness.Add(MakePlan(2), {1, 2});
  const auto hopeless = harness.Add(MakePlan(2), {1});
  harness.RunUntilIdle();
  EXPECT_EQ(job.finished()->message(), "1 of 2 images failed: no generator");
  EXPECT_EQ(job.state().images.count(1), 1u);
  EXPECT_EQ(hopeless.finished()->message(), "1 of 1 image failed: no generator");
  EXPECT_EQ(harness.metrics.engine.waiting_requests.Value(), 0);
}

class EngineHealthTest : public ::testing::Test {
 protected:
  EngineHealthTest() {
    harness_.engine.SetHealthCallback([this](bool healthy) { changes_.push_back(healthy); });
  }
  // One request of one evaluation.
  void Request() {
    harness_.Add(MakePlan(1), {next_seed_++});
    harness_.RunUntilIdle();
  }

  EngineHarness harness_{{}, {.failures_until_unhealthy = 3, .unhealthy_retry = absl::Seconds(10)}};
  std::vector<bool> changes_;
  uint64_t next_seed_ = 0;
};

TEST_F(EngineHealthTest, SeveralFailuresInARowMakeItUnhealthyAndASuccessHealthyAgain) {
  harness_.executor.FailNextBatches(3, kDeviceLost);
  Request();
  Request();
  EXPECT_TRUE(harness_.engine.healthy());
  Request();
  EXPECT_FALSE(harness_.engine.healthy());
  Request();
  EXPECT_TRUE(harness_.engine.healthy());
  EXPECT_THAT(changes_, ElementsAre(false, true));
}

TEST_F(EngineHealthTest, SuccessInBetweenStartsTheCountAnew) {
  for (int i = 0; i < 3; ++i) {
    harness_.executor.FailNextBatches(2, kDeviceLost);
    for (int j = 0; j < 3; ++j) Request();
  }
  EXPECT_THAT(changes_, IsEmpty());
}

TEST_F(EngineHealthTest, FailuresOfSamplesAreNotFailuresOfTheExecutor) {
  for (uint64_t seed = 0; seed < 5; ++seed) harness_.executor.FailRow(seed, 0, kNotFinite);
  for (int i = 0; i < 5; ++i) Request();
  EXPECT_THAT(changes_, IsEmpty());
}

TEST_F(EngineHealthTest, IsTriedAgainAfterTheRetryTimeWithoutAnyTraffic) {
  harness_.executor.FailNextBatches(3, kDeviceLost);
  for (int i = 0; i < 3; ++i) Request();
  const absl::Time retry = harness_.engine.NextWakeup();
  EXPECT_EQ(retry, harness_.clock.Now() + absl::Seconds(10));
  harness_.clock.Advance(absl::Seconds(10) - absl::Nanoseconds(1));
  harness_.engine.Step();
  EXPECT_FALSE(harness_.engine.healthy());
  harness_.clock.Advance(absl::Nanoseconds(1));
  harness_.engine.Step();
  EXPECT_TRUE(harness_.engine.healthy());
  EXPECT_EQ(harness_.engine.NextWakeup(), absl::InfiniteFuture());
}

TEST_F(EngineHealthTest, OneMoreFailureAfterTheRetryTimeIsEnough) {
  harness_.executor.FailNextBatches(4, kDeviceLost);
  for (int i = 0; i < 3; ++i) Request();
  harness_.clock.Advance(absl::Seconds(10));
  Request();
  EXPECT_THAT(changes_, ElementsAre(false, true, false));
}

}  // namespace
}  // namespace skipstream
