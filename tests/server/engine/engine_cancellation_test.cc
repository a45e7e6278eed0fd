// Jobs that end before their samples are done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/server/engine/engine_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(EngineCancellationTest, CancelledRowsAreInNoLaterBatch) {
  EngineHarness harness({.max_in_flight = 2});
  const auto cancelled = harness.Add(MakePlan(20), {1, 2});
  const auto other = harness.Add(MakePlan(20), {3});
  harness.Tick();
  harness.engine.CancelJob(cancelled.id);
  const size_t seen = harness.executor.batches().size();
  harness.RunUntilIdle();

  const auto batches = harness.executor.batches();
  ASSERT_GT(batches.size(), seen);
  for (size_t i = seen; i < batches.size(); ++i) EXPECT_THAT(Seeds(batches[i]), ElementsAre(3));
  EXPECT_EQ(cancelled.finished()->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(other.state().images.at(0).data, ImageMadeAlone(MakePlan(20), 3));
}

TEST(EngineCancellationTest, SlotIsFreeAtOnceAndResultsInFlightAreDiscarded) {
  EngineHarness harness({.num_slots = 1, .max_in_flight = 2});
  const auto cancelled = harness.Add(MakePlan(20), {1}, {.preview_every = 1});
  const auto waiting = harness.Add(MakePlan(30), {2});
  harness.engine.Step();
  harness.engine.CancelJob(cancelled.id);
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  harness.RunUntilIdle();
  // Two evaluations and their previews were in flight; nothing of them is heard.
  EXPECT_THAT(cancelled.state().events, ElementsAre("accepted", "finished CANCELLED"));
  EXPECT_THAT(cancelled.state().violations, IsEmpty());
  EXPECT_EQ(waiting.state().images.at(0).data, ImageMadeAlone(MakePlan(30), 2));
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

TEST(EngineCancellationTest, WaitingJobEndsWithoutEverHavingASlot) {
  EngineHarness harness({.num_slots = 1});
  harness.Add(MakePlan(3), {1});
  const auto waiting = harness.Add(MakePlan(9), {2});
  harness.Tick();
  harness.engine.CancelJob(waiting.id);
  harness.RunUntilIdle();
  EXPECT_EQ(waiting.finished()->code(), absl::StatusCode::kCancelled);
  for (const auto& call : harness.executor.calls()) EXPECT_NE(call.seed, 2u);
  EXPECT_EQ(harness.metrics.engine.cancelled.With({"waiting"}).Value(), 1);
  EXPECT_EQ(harness.metrics.engine.cancelled.With({"running"}).Value(), 0);
}

TEST(EngineCancellationTest, CancellingTwiceOrAfterTheEndChangesNothing) {
  EngineHarness harness;
  const auto done = harness.Add(MakePlan(1), {1});
  harness.RunUntilIdle();
  harness.engine.CancelJob(done.id);
  const auto cancelled = harness.Add(MakePlan(3), {2});
  harness.engine.CancelJob(cancelled.id);
  harness.engine.CancelJob(cancelled.id);
  harness.engine.CancelJob(4711);
  EXPECT_EQ(done.finished(), absl::OkStatus());
  EXPECT_THAT(cancelled.state().events, ElementsAre("accepted", "finished CANCELLED"));
  EXPECT_EQ(harness.metrics.engine.cancelled.With({"running"}).Value(), 0);
}

TEST(EngineCancellationTest, CancelBetweenTheLastBatchAndTheReadOutDropsTheImage) {
  EngineHarness harness;
  const auto job = harness.Add(MakePlan(1), {1});
  ASSERT_TRUE(harness.Tick());  // the batch is done, the read-out is not
  harness.engine.CancelJob(job.id);
  harness.RunUntilIdle();
  EXPECT_THAT(job.state().events, ElementsAre("accepted", "progress 0 1/1", "finished CANCELLED"));
  EXPECT_TRUE(harness.engine.executor_idle());
}

TEST(EngineCancellationTest, TicketIsReleasedBeforeTheSinkHearsOfTheEnd) {
  Admission admission(Admission::Options{});
  EngineHarness harness;
  const auto cancelled = harness.Add(MakePlan(9), {1}, {.ticket = *admission.Admit(Wants(9))});
  const auto done = harness.Add(MakePlan(2), {2}, {.ticket = *admission.Admit(Wants(2))});
  EXPECT_EQ(admission.outstanding_evaluations(), 11);
  harness.engine.CancelJob(cancelled.id);
  EXPECT_EQ(admission.outstanding_evaluations(), 2);
  harness.RunUntilIdle();
  EXPECT_EQ(admission.outstanding_requests(), 0);
}

TEST(EngineCancellationTest, AnExtendedDeadlineIsTheOneThatCounts) {
  EngineHarness harness;
  const absl::Time now = harness.clock.Now();
  const auto job = harness.Add(MakePlan(100), {1}, {.deadline = now + absl::Milliseconds(35)});
  harness.engine.ExtendDeadline(job.id, now + absl::Milliseconds(75));
  harness.engine.ExtendDeadline(job.id + 1, now);
  EXPECT_EQ(harness.engine.NextWakeup(), now + absl::Milliseconds(75));
  harness.RunUntilIdle();
  EXPECT_EQ(job.finished()->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(harness.executor.batches(), SizeIs(15)) << "of 5 ms each";
}

TEST(EngineCancellationTest, ADeadlineCanBeTakenAway) {
  EngineHarness harness;
  const auto job =
      harness.Add(MakePlan(20), {1}, {.deadline = harness.clock.Now() + absl::Milliseconds(35)});
  harness.engine.ExtendDeadline(job.id, absl::InfiniteFuture());
  EXPECT_EQ(harness.engine.NextWakeup(), absl::InfiniteFuture());
  harness.RunUntilIdle();
  EXPECT_EQ(job.finished(), absl::OkStatus());
}

TEST(EngineCancellationTest, ExpiredJobIsInNoBatchAfterItsDeadline) {
  EngineHarness harness({.evaluation_time = [](int) { return absl::Milliseconds(10); }});
  const auto job =
      harness.Add(MakePlan(100), {1}, {.deadline = harness.clock.Now() + absl::Milliseconds(35)});
  const auto other = harness.Add(MakePlan(10), {2});
  EXPECT_EQ(harness.engine.NextWakeup(), harness.clock.Now() + absl::Milliseconds(35));
  harness.RunUntilIdle();
  EXPECT_EQ(job.finished()->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(other.finished(), absl::OkStatus());
  const auto batches = harness.executor.batches();
  ASSERT_EQ(batches.size(), 10u);
  // Submitted at 0, 10, 20 and 30 ms.
  for (size_t i = 0; i < batches.size(); ++i) EXPECT_EQ(batches[i].rows.size(), i < 4 ? 2u : 1u);
  EXPECT_EQ(harness.engine.NextWakeup(), absl::InfiniteFuture());
}

TEST(EngineCancellationTest, JobThatComesTooLateIsNeverStarted) {
  EngineHarness harness;
  const auto job = harness.Add(MakePlan(5), {1}, {.deadline = harness.clock.Now()});
  EXPECT_FALSE(harness.Tick());
  EXPECT_THAT(job.state().events, ElementsAre("accepted", "finished DEADLINE_EXCEEDED"));
  EXPECT_THAT(harness.executor.calls(), IsEmpty());
}

TEST(EngineCancellationTest, CancelAllEndsEveryJob) {
  EngineHarness harness({.num_slots = 2});
  std::vector<EngineHarness::Handle> jobs;
  for (uint64_t seed = 0; seed < 5; ++seed) jobs.push_back(harness.Add(MakePlan(5), {seed}));
  harness.Tick();
  harness.engine.CancelAll();
  for (const auto& job : jobs) EXPECT_EQ(job.finished()->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(harness.executor.slots_in_use(), 0);
  EXPECT_EQ(harness.engine.finished_jobs(), 5);
}

TEST(EngineCancellationTest, TwoHundredRandomCancelsLeakNoSlotAndDisturbNobody) {
  for (const int max_in_flight : {1, 2}) {
    EngineHarness harness({.max_batch = 8, .num_slots = 12, .max_in_flight = max_in_flight});
    std::mt19937 random(4711);
    struct Job {
      EngineHarness::Handle handle;
      std::shared_ptr<const SamplingPlan> plan;
      std::vector<uint64_t> seeds;
    };
    std::vector<Job> jobs;
    std::vector<size_t> cancellable;
    int cancels = 0;
    while (cancels < 200) {
      const auto plan = MakePlan(1 + static_cast<int>(random() % 40), 1 + random() % 2);
      std::vector<uint64_t> seeds(1 + random() % 3);
      for (uint64_t& seed : seeds) seed = random();
      cancellable.push_back(jobs.size());
      jobs.push_back({harness.Add(plan, seeds, {.preview_every = static_cast<int>(random() % 4)}),
                      plan, seeds});
      // Somewhere between two operations of the executor.
      harness.engine.Step();
      for (int n = random() % 6; n > 0 && harness.executor.CompleteNext(); --n) {
        harness.engine.Step();
      }
      if (random() % 2 == 0) continue;
      const size_t pick = random() % cancellable.size();
      const EngineHarness::Handle& victim = jobs[cancellable[pick]].handle;
      cancellable.erase(cancellable.begin() + static_cast<std::ptrdiff_t>(pick));
      if (victim.finished()) continue;
      harness.engine.CancelJob(victim.id);
      ++cancels;
    }
    harness.RunUntilIdle();

    int finished = 0;
    int cancelled = 0;
    for (const Job& job : jobs) {
      const RecordingSink::State state = job.handle.state();
      ASSERT_TRUE(state.finished.has_value());
      EXPECT_THAT(state.violations, IsEmpty());
      cancelled += absl::IsCancelled(*state.finished);
      finished += state.finished->ok();
      for (const auto& [sample, pixels] : state.images) {
        EXPECT_EQ(pixels.data, ImageMadeAlone(job.plan, job.seeds[sample]));
      }
    }
    EXPECT_EQ(cancelled, 200);
    EXPECT_GT(finished, 50);
    EXPECT_EQ(finished + cancelled, static_cast<int>(jobs.size()));
    EXPECT_EQ(harness.executor.slots_in_use(), 0);
    EXPECT_THAT(harness.executor.violations(), IsEmpty());
    EXPECT_EQ(harness.metrics.engine.waiting_evaluations.Value(), 0);
    EXPECT_EQ(harness.metrics.engine.waiting_requests.Value(), 0);
    EXPECT_EQ(harness.metrics.engine.running_samples.Value(), 0);
  }
}

}  // namespace
}  // namespace skipstream
