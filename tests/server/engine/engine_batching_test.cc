// Tests that samples share batches and slots, and the order of their results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "tests/server/engine/engine_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Call = PuppetExecutor::Call;

TEST(EngineBatchingTest, LoneJobRunsItsPlanAndReportsEverythingInOrder) {
  EngineHarness harness;
  const auto job = harness.Add(MakePlan(3), {7});
  harness.RunUntilIdle();
  EXPECT_THAT(job.state().events, ElementsAre("accepted", "progress 0 1/3", "progress 0 2/3",
                                              "progress 0 3/3", "image 0", "finished OK"));
  EXPECT_THAT(job.state().violations, IsEmpty());
  EXPECT_EQ(job.state().images.at(0).data.size(), 4u * 4 * 3);
  EXPECT_TRUE(harness.engine.executor_idle());
  EXPECT_EQ(harness.engine.finished_jobs(), 1);
}

TEST(EngineBatchingTest, RequestsWithDifferentPlansShareEveryBatch) {
  EngineHarness harness;
  harness.Add(MakePlan(9), {1});
  harness.Add(MakePlan(79, 1, 0.7f), {2});
  harness.Add(MakePlan(35, 2, 1.05f), {3});
  harness.Tick();
  EXPECT_THAT(harness.executor.batches().size(), 1u);
  EXPECT_THAT(Seeds(harness.executor.batches()[0]), UnorderedElementsAre(1, 2, 3, 3));
}

TEST(EngineBatchingTest, NewJobJoinsTheNextBatchOfRunningOnes) {
  EngineHarness harness;
  harness.Add(MakePlan(9), {1});
  harness.Tick();
  harness.Add(MakePlan(9), {2});
  harness.Tick();
  EXPECT_THAT(Seeds(harness.executor.batches()[1]), UnorderedElementsAre(1, 2));
}

TEST(EngineBatchingTest, FinishedSampleFreesItsSlotForTheNextOneAtOnce) {
  EngineHarness harness({.max_batch = 4, .num_slots = 2});
  harness.Add(MakePlan(2), {1});
  harness.Add(MakePlan(5), {2});
  harness.Add(MakePlan(6), {3});
  harness.Tick();
  harness.Tick();
  harness.Tick();
  const auto batches = harness.executor.batches();
  EXPECT_THAT(Seeds(batches[1]), UnorderedElementsAre(1, 2));
  EXPECT_THAT(Seeds(batches[2]), UnorderedElementsAre(2, 3));  // 3 took the place of 1
}

TEST(EngineBatchingTest, SlotIsFreedInTheSameBreathAsTheFinalReadOutIsQueued) {
  EngineHarness harness({.num_slots = 1});
  harness.Add(MakePlan(1), {1});
  harness.Add(MakePlan(1), {2});
  harness.RunUntilIdle();
  std::vector<std::pair<Call::Kind, uint64_t>> order;
  for (const Call& call : harness.executor.calls()) {
    order.emplace_back(call.kind, call.kind == Call::kSubmit ? call.rows[0].seed : call.seed);
  }
  using Step = std::pair<Call::Kind, uint64_t>;
  EXPECT_THAT(order,
              ElementsAre(Step(Call::kAllocate, 1), Step(Call::kSubmit, 1),
                          Step(Call::kReadFinal, 1), Step(Call::kFree, 1), Step(Call::kAllocate, 2),
                          Step(Call::kSubmit, 2), Step(Call::kReadFinal, 2), Step(Call::kFree, 2)));
}

TEST(EngineBatchingTest, SamplesOfOneRequestRunTogether) {
  EngineHarness harness;
  const auto job = harness.Add(MakePlan(2), {1, 2, 3, 4});
  harness.RunUntilIdle();
  EXPECT_EQ(harness.executor.batches().size(), 2u);
  EXPECT_EQ(job.state().images.size(), 4u);
  EXPECT_EQ(job.finished(), absl::OkStatus());
}

TEST(EngineBatchingTest, ImageDoesNotDependOnWhatElseIsInTheBatch) {
  EngineHarness harness({.max_batch = 3, .num_slots = 5});
  std::vector<std::pair<std::shared_ptr<const SamplingPlan>, EngineHarness::Handle>> jobs;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const auto plan = MakePlan(1 + static_cast<int>(seed * 5 % 13), 1 + static_cast<int>(seed) % 2,
                               0.5f + 0.1f * static_cast<float>(seed % 7));
    jobs.emplace_back(plan, harness.Add(plan, {seed}));
  }
  harness.RunUntilIdle();
  std::set<std::vector<uint8_t>> distinct;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto image = jobs[i].second.state().images.at(0).data;
    EXPECT_EQ(image, ImageMadeAlone(jobs[i].first, i + 1));
    distinct.insert(image);
  }
  EXPECT_EQ(distinct.size(), jobs.size());
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

TEST(EngineBatchingTest, ThirtyTwoMixedRequestsFillTheBatches) {
  for (const int max_in_flight : {1, 2}) {
    EngineHarness harness({.max_batch = 16, .num_slots = 64, .max_in_flight = max_in_flight});
    std::vector<EngineHarness::Handle> jobs;
    int rows = 0;
    for (int i = 0; i < 32; ++i) {
      const int nfe = 1 + i * 78 / 31;  // 1..79
      rows += nfe;
      jobs.push_back(harness.Add(MakePlan(nfe), {static_cast<uint64_t>(i)}));
    }
    harness.RunUntilIdle();
    for (const auto& job : jobs) EXPECT_EQ(job.finished(), absl::OkStatus());
    const double mean = static_cast<double>(rows) / harness.executor.batches().size();
    RecordProperty("mean_rows", std::to_string(mean));
    EXPECT_GT(mean, 6.0) << rows << " rows in " << harness.executor.batches().size() << " batches";
    EXPECT_THAT(harness.executor.violations(), IsEmpty());
  }
}

TEST(EngineBatchingTest, BatchServesOneNetworkAndBothGetTheirTurn) {
  EngineHarness harness;
  const auto other = *LoadedModel::Load(harness.executor, "other", "other.safetensors");
  const auto a = harness.Add(MakePlan(4), {1, 2});
  const auto b = harness.Add(MakePlan(4), {3, 4}, {.model = other});
  harness.RunUntilIdle();
  EXPECT_EQ(a.finished(), absl::OkStatus());
  EXPECT_EQ(b.finished(), absl::OkStatus());
  for (const Call& batch : harness.executor.batches()) {
    if (batch.network == other->network()) {
      EXPECT_THAT(Seeds(batch), UnorderedElementsAre(3, 4));
    } else {
      EXPECT_THAT(Seeds(batch), UnorderedElementsAre(1, 2));
    }
  }
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

TEST(EngineBatchingTest, TermsOfAStepAreSubmittedInOrderAndCountAsOneEvaluation) {
  EngineHarness harness({.max_in_flight = 2});
  const auto job = harness.Add(MakePlan(2, /*terms=*/2), {5}, {.preview_every = 1});
  harness.RunUntilIdle();
  std::vector<std::pair<int, int>> rows;
  for (const Call& batch : harness.executor.batches()) {
    for (const auto& row : batch.rows) rows.emplace_back(row.step, row.term);
  }
  using Row = std::pair<int, int>;
  EXPECT_THAT(rows, ElementsAre(Row(0, 0), Row(0, 1), Row(1, 0), Row(1, 1)));
  EXPECT_THAT(job.state().events, ElementsAre("accepted", "progress 0 1/2", "preview 0 1",
                                              "progress 0 2/2", "image 0", "finished OK"));
  EXPECT_EQ(harness.metrics.engine.evaluations.With({"puppet"}).Value(), 4);  // rows
}

TEST(EngineBatchingTest, NextEvaluationIsQueuedBeforeTheFormerCompletes) {
  EngineHarness harness({.max_in_flight = 2});
  harness.Add(MakePlan(3), {1});
  harness.engine.Step();
  const auto batches = harness.executor.batches();
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].rows[0].step, 0);
  EXPECT_EQ(batches[1].rows[0].step, 1);
}

TEST(EngineBatchingTest, NeverMoreBatchesInFlightThanTheExecutorWants) {
  EngineHarness harness({.max_in_flight = 1});
  harness.Add(MakePlan(3), {1});
  harness.engine.Step();
  harness.engine.Step();
  EXPECT_EQ(harness.executor.batches().size(), 1u);
}

TEST(EngineBatchingTest, PreviewsComeEveryFewEvaluationsButNotAtTheEnd) {
  EngineHarness harness;
  const auto job = harness.Add(MakePlan(6), {1}, {.preview_every = 2});
  harness.RunUntilIdle();
  EXPECT_THAT(job.state().events,
              ElementsAre("accepted", "progress 0 1/6", "progress 0 2/6", "preview 0 2",
                          "progress 0 3/6", "progress 0 4/6", "preview 0 4", "progress 0 5/6",
                          "progress 0 6/6", "image 0", "finished OK"));
}

TEST(EngineBatchingTest, PreviewIsQueuedDirectlyBehindItsBatchAlsoWithTwoInFlight) {
  EngineHarness harness({.max_in_flight = 2});
  const auto job = harness.Add(MakePlan(3), {1}, {.preview_every = 1});
  harness.RunUntilIdle();
  std::vector<Call::Kind> kinds;
  for (const Call& call : harness.executor.calls()) kinds.push_back(call.kind);
  EXPECT_THAT(kinds, ElementsAre(Call::kAllocate, Call::kSubmit, Call::kReadPreview, Call::kSubmit,
                                 Call::kReadPreview, Call::kSubmit, Call::kReadFinal, Call::kFree));
  // Each shows the state after its own evaluation: the same previews as with one batch in flight.
  EngineHarness slow({.max_in_flight = 1});
  const auto same = slow.Add(MakePlan(3), {1}, {.preview_every = 1});
  slow.RunUntilIdle();
  ASSERT_EQ(job.state().previews.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(job.state().previews[i].pixels.data, same.state().previews[i].pixels.data);
  }
}

TEST(EngineBatchingTest, HigherPriorityGetsTheSlotFirst) {
  EngineHarness harness({.max_batch = 1, .num_slots = 1});
  const auto low = harness.Add(MakePlan(1), {1}, {.priority = Priority::kLow});
  const auto normal = harness.Add(MakePlan(3), {2});
  const auto high = harness.Add(MakePlan(5), {3}, {.priority = Priority::kHigh});
  harness.RunUntilIdle();
  std::vector<uint64_t> started;
  for (const Call& call : harness.executor.calls()) {
    if (call.kind == Call::kAllocate) started.push_back(call.seed);
  }
  EXPECT_THAT(started, ElementsAre(3, 2, 1));
}

TEST(EngineBatchingTest, LongRequestFinishesDespiteAnEndlessStreamOfShortOnes) {
  EngineHarness harness({.max_batch = 1,
                         .num_slots = 8,
                         .evaluation_time = [](int) { return absl::Milliseconds(10); }},
                        {.scheduler = {.ageing_per_row = absl::Milliseconds(10)}});
  const auto job = harness.Add(MakePlan(20), {999});
  int ticks = 0;
  for (; !job.finished(); ++ticks) {
    ASSERT_LT(ticks, 200);
    harness.Add(MakePlan(1), {static_cast<uint64_t>(ticks)});
    harness.Tick();
    harness.executor.CompleteNext();  // the read-out
  }
  EXPECT_GT(ticks, 20);  // the short ones did go first for a while
}

TEST(EngineBatchingTest, SampleWaitsWhenTheExecutorHasNoSlotAndStartsWhenOneIsThere) {
  EngineHarness harness;
  const auto starved = harness.Add(MakePlan(1), {1});
  harness.executor.FailAllocation(1, absl::ResourceExhaustedError("no memory"));
  EXPECT_FALSE(harness.Tick());
  EXPECT_EQ(starved.finished(), std::nullopt);
  EXPECT_EQ(harness.engine.NextWakeup(), harness.clock.Now() + absl::Milliseconds(100));

  harness.executor.FailAllocation(1, absl::OkStatus());
  EXPECT_FALSE(harness.Tick());  // not asked again before its time
  harness.clock.Advance(absl::Milliseconds(100));
  harness.RunUntilIdle();
  EXPECT_EQ(starved.finished(), absl::OkStatus());
}

TEST(EngineBatchingTest, WaitingSampleIsTriedAgainAsSoonAsASlotIsFreed) {
  EngineHarness harness;
  harness.Add(MakePlan(2), {1});
  harness.Tick();
  harness.executor.FailAllocation(2, absl::ResourceExhaustedError("no memory"));
  const auto second = harness.Add(MakePlan(5), {2});
  harness.engine.Step();  // 2 is refused, then 1 frees its slot
  harness.executor.FailAllocation(2, absl::OkStatus());
  harness.RunUntilIdle();
  EXPECT_EQ(second.finished(), absl::OkStatus());
}

TEST(EngineBatchingTest, AcceptedTellsWhatIsAheadAndHowLongItTakes) {
  EngineHarness harness({.max_batch = 2});
  ASSERT_TRUE(harness.model->cost()
                  .SetProfile({{1, absl::Milliseconds(8)}, {2, absl::Milliseconds(10)}})
                  .ok());
  const auto first = harness.Add(MakePlan(9), {1, 2});
  EXPECT_EQ(first.state().accepted->requests_ahead, 0);
  EXPECT_EQ(first.state().accepted->evaluations_ahead, 0);
  EXPECT_EQ(first.state().accepted->estimate, absl::Milliseconds(9 * 10));
  harness.Tick();
  const auto second = harness.Add(MakePlan(5), {3});
  EXPECT_EQ(second.state().accepted->requests_ahead, 1);
  EXPECT_EQ(second.state().accepted->evaluations_ahead, 2 * 9 - 2);
  harness.RunUntilIdle();
  EXPECT_EQ(harness.Add(MakePlan(1), {4}).state().accepted->evaluations_ahead, 0);
}

TEST(EngineBatchingTest, TimingsSplitIntoQueuedAndRunning) {
  EngineHarness harness({.max_batch = 1, .num_slots = 1, .evaluation_time = [](int) {
                           return absl::Milliseconds(10);
                         }});
  const auto first = harness.Add(MakePlan(3), {1});
  const auto second = harness.Add(MakePlan(4), {2});
  harness.RunUntilIdle();
  EXPECT_EQ(first.state().timings.at(0).queued, absl::ZeroDuration());
  EXPECT_EQ(first.state().timings.at(0).running, absl::Milliseconds(30));
  EXPECT_EQ(second.state().timings.at(0).queued, absl::Milliseconds(30));
  EXPECT_EQ(second.state().timings.at(0).running, absl::Milliseconds(40));
}

TEST(EngineBatchingTest, DeviceIsNeverIdleWhileThereIsWork) {
  // On the fake clock only batches take time: the makespan is the sum of the batches.
  EngineHarness harness({.evaluation_time = [](int) { return absl::Milliseconds(10); }});
  const absl::Time start = harness.clock.Now();
  for (uint64_t seed = 0; seed < 16; ++seed) harness.Add(MakePlan(9), {seed});
  harness.RunUntilIdle();
  EXPECT_EQ(harness.clock.Now() - start, absl::Milliseconds(9 * 10));
}

TEST(EngineBatchingTest, IdleEngineAsksForNoWakeup) {
  EngineHarness harness;
  EXPECT_EQ(harness.engine.NextWakeup(), absl::InfiniteFuture());
  harness.Add(MakePlan(3), {1});
  harness.engine.Step();
  EXPECT_EQ(harness.engine.NextWakeup(), absl::InfiniteFuture());
  harness.RunUntilIdle();
  EXPECT_EQ(harness.engine.NextWakeup(), absl::InfiniteFuture());
}

TEST(EngineBatchingTest, MetricsFollowTheLifeOfARequest) {
  EngineHarness harness({.num_slots = 3, .evaluation_time = [](int) { return absl::Seconds(1); }});
  EngineMetrics& metrics = harness.metrics.engine;
  harness.Add(MakePlan(4), {1, 2});
  harness.Add(MakePlan(6), {3, 4});
  harness.Add(MakePlan(6), {5});
  harness.engine.Step();
  EXPECT_EQ(metrics.slots.Value(), 3);
  EXPECT_EQ(metrics.slots_in_use.Value(), 3);
  EXPECT_EQ(metrics.running_samples.Value(), 3);
  EXPECT_EQ(metrics.waiting_requests.Value(), 1);
  EXPECT_EQ(metrics.waiting_evaluations.Value(), 8 + 12 + 6);
  harness.RunUntilIdle();
  EXPECT_EQ(metrics.slots_in_use.Value(), 0);
  EXPECT_EQ(metrics.running_samples.Value(), 0);
  EXPECT_EQ(metrics.waiting_requests.Value(), 0);
  EXPECT_EQ(metrics.waiting_evaluations.Value(), 0);
  EXPECT_EQ(metrics.images.With({"puppet"}).Value(), 5);
  EXPECT_EQ(metrics.evaluations.With({"puppet"}).Value(), 26);
  const auto rows = metrics.batch_rows.Collect().histogram;
  EXPECT_EQ(rows.sample_count, harness.executor.batches().size());
  EXPECT_EQ(rows.sample_sum, 26);
  EXPECT_EQ(metrics.queue_seconds.Collect().histogram.sample_count, 5u);
  EXPECT_GT(metrics.evaluation_seconds.With({"4"}).Collect().histogram.sample_count, 0u);
}

TEST(EngineOptionsTest, FieldsOutOfRangeAreNamed) {
  using Options = Engine::Options;
  EXPECT_TRUE(Options{}.Validate().ok());
  const std::vector<std::pair<std::string, Options>> bad = {
      {"failures_until_unhealthy", {.failures_until_unhealthy = 0}},
      {"unhealthy_retry", {.unhealthy_retry = absl::ZeroDuration()}},
      {"slot_retry", {.slot_retry = absl::Milliseconds(-1)}},
      {"scheduler.ageing_per_row", {.scheduler = {.ageing_per_row = absl::ZeroDuration()}}},
      {"scheduler.rows_per_priority_class", {.scheduler = {.rows_per_priority_class = -1}}},
      {"scheduler.reserved_slots", {.scheduler = {.reserved_slots = -1}}},
      {"max_batch", {.max_batch = -1}},
      {"max_slots", {.max_slots = -1}}};
  for (const auto& [field, options] : bad) {
    EXPECT_TRUE(absl::IsInvalidArgument(options.Validate())) << field;
    EXPECT_EQ(options.Validate().message().find(field), 0u) << options.Validate();
  }
}

}  // namespace
}  // namespace skipstream
