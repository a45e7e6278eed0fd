// Deadlines, estimates and tenants under load, on a fake clock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/error_details.h"
#include "tests/server/engine/engine_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kBatch = absl::Milliseconds(10);

// Batches of up to four rows take 10 ms, whatever is in them, and the engine knows.
class EnginePressureTest : public ::testing::Test {
 protected:
  struct Finished {
    EngineHarness::Handle job;
    absl::Time added;
    absl::Duration latency;  // until its last image
  };

  EnginePressureTest() { LearnCosts(harness_); }

  static PuppetExecutor::Options Device() {
    return {.max_batch = 4, .num_slots = 64, .evaluation_time = [](int) { return kBatch; }};
  }
  static void LearnCosts(EngineHarness& harness) {
    EXPECT_TRUE(harness.model->cost()
                    .SetProfile(*harness.executor.WarmUp(harness.model->network(), kBatch))
                    .ok());
  }

  absl::Time Now() const { return harness_.clock.Now(); }
  absl::Time In(absl::Duration delay) const { return Now() + delay; }

  // Arrivals by time; those that are due are added before the next batch.
  struct Arrival {
    absl::Duration at;
    std::shared_ptr<const SamplingPlan> plan;
    JobOptions options;
  };
  // Latencies of the arrivals whose tenant is `tenant`, ascending.
  static std::vector<double> Latencies(std::vector<Arrival> arrivals, const std::string& tenant) {
    EngineHarness harness(Device(), {.scheduler = {.reserved_slots = 8}});
    LearnCosts(harness);
    std::stable_sort(arrivals.begin(), arrivals.end(),
                     [](const Arrival& a, const Arrival& b) { return a.at < b.at; });
    const absl::Time start = harness.clock.Now();
    struct Open {
      EngineHarness::Handle job;
      absl::Time added;
    };
    std::vector<Open> open;
    std::vector<double> latencies;
    uint64_t seed = 0;
    auto next = arrivals.begin();
    while (next != arrivals.end() || !open.empty()) {
      while (next != arrivals.end() && start + next->at <= harness.clock.Now()) {
        const auto job = harness.Add(next->plan, {seed++}, next->options);
        if (next->options.tenant->name == tenant) open.push_back({job, start + next->at});
        ++next;
      }
      if (!harness.Tick()) {
        if (next == arrivals.end()) break;
        harness.clock.Advance(start + next->at - harness.clock.Now());
      }
      harness.engine.Step();
      while (harness.executor.CompleteNext()) {
        harness.engine.Step();
        break;
      }
      std::erase_if(open, [&](const Open& one) {
        if (!one.job.finished()) return false;
        EXPECT_EQ(*one.job.finished(), absl::OkStatus());
        latencies.push_back(absl::ToDoubleMilliseconds(harness.clock.Now() - one.added));
        return true;
      });
    }
    std::sort(latencies.begin(), latencies.end());
    return latencies;
  }

  EngineHarness harness_{Device()};
};

TEST_F(EnginePressureTest, DeadlineThatCannotBeMetIsRefusedAtOnce) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    harness_.Add(MakePlan(100), {seed}, {.deadline = In(absl::Seconds(1.2))});
  }
  const auto refused = harness_.Add(MakePlan(50), {9}, {.deadline = In(absl::Seconds(1.3))});
  EXPECT_THAT(refused.state().events, ElementsAre("finished RESOURCE_EXHAUSTED"));
  EXPECT_EQ(GetReason(*refused.finished()), "DEADLINE_UNREACHABLE");
  // It would be done after 1.5 s, of which 1 s is waiting, which counts 15 % more.
  EXPECT_EQ(GetRetryAfter(*refused.finished()), absl::Milliseconds(350));
  harness_.RunUntilIdle();
  EXPECT_EQ(harness_.executor.batches().size(), 100u) << "the device never heard of it";
}

TEST_F(EnginePressureTest, DeadlineThatNoServerMeetsIsNotWorthARetry) {
  const auto refused = harness_.Add(MakePlan(50), {1}, {.deadline = In(absl::Milliseconds(499))});
  EXPECT_EQ(GetReason(*refused.finished()), "DEADLINE_UNREACHABLE");
  EXPECT_EQ(GetRetryAfter(*refused.finished()), std::nullopt);
  EXPECT_THAT(refused.finished()->message(), HasSubstr("about 500ms even if nobody else"));
}

TEST_F(EnginePressureTest, AnIdleEngineTriesWhatItOnceCould) {
  // Something held the device up so often that costs look ten times what they are.
  for (int i = 0; i < 100; ++i) harness_.model->cost().Record(1, 10 * kBatch);
  const auto job = harness_.Add(MakePlan(50), {1}, {.deadline = In(absl::Milliseconds(600))});
  ASSERT_TRUE(job.state().accepted.has_value());
  harness_.RunUntilIdle();
  EXPECT_EQ(job.finished(), absl::OkStatus());
}

TEST_F(EnginePressureTest, SlotsBoundWhatRunsAtOnce) {
  EngineHarness harness(Device(), {.max_slots = 2});
  LearnCosts(harness);
  const auto job = harness.Add(MakePlan(10), {1, 2, 3, 4});
  EXPECT_EQ(job.state().accepted->estimate, 20 * kBatch);
}

TEST_F(EnginePressureTest, AnotherTenantsShareCountsForEverySampleOfAJob) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    harness_.Add(MakePlan(100), {seed}, {.tenant = TenantCalled("other")});
  }
  const auto job = harness_.Add(MakePlan(10), {10, 11, 12, 13, 14, 15, 16, 17},
                                {.tenant = TenantCalled("mine")});
  // Its 80 rows and 80 of the other one's, four at a time.
  EXPECT_EQ(job.state().accepted->estimate, 40 * kBatch);
}

TEST_F(EnginePressureTest, WorkWithoutADeadlineGivesWay) {
  for (uint64_t seed = 0; seed < 40; ++seed) harness_.Add(MakePlan(20), {seed});
  // Two seconds are ahead of it by rank, but nobody there is in a hurry.
  const auto hasty = harness_.Add(MakePlan(50), {99}, {.deadline = In(absl::Seconds(1))});
  const absl::Time deadline = In(absl::Seconds(1));
  ASSERT_TRUE(hasty.state().accepted.has_value());
  while (!hasty.finished() && harness_.Tick()) {
  }
  EXPECT_EQ(hasty.finished(), absl::OkStatus());
  EXPECT_LE(Now(), deadline);
}

TEST_F(EnginePressureTest, ManySamplesOfOneDeadlineStartInTime) {
  for (uint64_t seed = 0; seed < 40; ++seed) harness_.Add(MakePlan(20), {seed});
  // Alone its twelve samples take 3 turns of 20 batches.
  const auto hasty = harness_.Add(MakePlan(20), {90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101},
                                  {.deadline = In(absl::Seconds(1.2))});
  const absl::Time deadline = In(absl::Seconds(1.2));
  while (!hasty.finished() && harness_.Tick()) {
  }
  EXPECT_EQ(hasty.finished(), absl::OkStatus());
  EXPECT_LE(Now(), deadline);
}

TEST_F(EnginePressureTest, EstimateIsRightForAQuietServer) {
  const absl::Time start = Now();
  const auto job = harness_.Add(MakePlan(20), {1, 2, 3, 4, 5, 6});
  harness_.RunUntilIdle();
  EXPECT_EQ(job.state().accepted->estimate, Now() - start);
}

TEST_F(EnginePressureTest, MedianEstimateIsWithinAFifthUnderLoad) {
  std::mt19937 random(7);
  struct Sent {
    EngineHarness::Handle job;
    absl::Time added;
    double error = -1.0;
  };
  std::vector<Sent> sent;
  const int nfes[] = {5, 9, 19, 39, 79};
  // About four fifths of what the device can do (400 rows a second), in lumps.
  absl::Time next = Now();
  while (sent.size() < 600) {
    while (Now() >= next && sent.size() < 600) {
      std::vector<uint64_t> seeds(1 + random() % 3);
      for (uint64_t& seed : seeds) seed = random();
      sent.push_back({harness_.Add(MakePlan(nfes[random() % 5]), seeds), Now()});
      next += absl::Milliseconds(187) * -std::log((random() % 10000 + 1) / 10000.0);
    }
    if (!harness_.Tick()) harness_.clock.Advance(std::max(next - Now(), absl::Milliseconds(1)));
    harness_.engine.Step();
    for (Sent& one : sent) {
      if (one.error >= 0.0 || !one.job.finished()) continue;
      const double actual = absl::ToDoubleSeconds(Now() - one.added);
      one.error =
          std::abs(absl::ToDoubleSeconds(one.job.state().accepted->estimate) - actual) / actual;
    }
  }
  std::vector<double> errors;
  for (const Sent& one : sent) {
    if (one.error >= 0.0) errors.push_back(one.error);
  }
  std::nth_element(errors.begin(), errors.begin() + errors.size() / 2, errors.end());
  RecordProperty("median_error", std::to_string(errors[errors.size() / 2]));
  EXPECT_GT(errors.size(), 500u);
  EXPECT_LT(errors[errors.size() / 2], 0.2);
}

// A tenant that asks for half of its share, evenly: 9 evaluations every 90 ms.
TEST_F(EnginePressureTest, FloodOfOneTenantMovesAnothersP99ByLessThanAFifth) {
  const auto victim = TenantCalled("victim");
  const auto neighbour = TenantCalled("neighbour");
  const auto latencies = [&](double neighbours_load) {
    std::vector<Arrival> arrivals;
    for (int i = 0; i < 400; ++i) {
      arrivals.push_back({i * absl::Milliseconds(90), MakePlan(9), {.tenant = victim}});
    }
    // The device does 400 rows a second; 39 rows each.
    const absl::Duration every = absl::Seconds(39 / 400.0 / neighbours_load);
    for (absl::Duration at = absl::ZeroDuration(); at < absl::Seconds(36); at += every) {
      arrivals.push_back({at, MakePlan(39), {.priority = Priority::kHigh, .tenant = neighbour}});
    }
    return Latencies(std::move(arrivals), "victim");
  };
  const std::vector<double> calm = latencies(0.5);
  const std::vector<double> flooded = latencies(10.0);
  ASSERT_EQ(calm.size(), 400u);
  ASSERT_EQ(flooded.size(), 400u);
  EXPECT_LE(flooded[396], 1.2 * calm[396]);
}

TEST_F(EnginePressureTest, TenfoldOverloadLeavesGoodputAndLatencyAsTheyAre) {
  std::mt19937 random(3);
  const int nfes[] = {5, 9, 19, 39};  // 18 rows on average
  struct Sent {
    EngineHarness::Handle job;
    absl::Time deadline;
    int rows = 0;
  };
  std::vector<Sent> sent;
  const absl::Time start = Now();
  const absl::Time end = start + absl::Seconds(60);
  absl::Time next = start;
  while (Now() < end) {
    while (next <= Now()) {
      const int nfe = nfes[random() % 4];
      const absl::Time deadline = Now() + absl::Seconds(2);
      sent.push_back(
          {harness_.Add(MakePlan(nfe), {random()}, {.deadline = deadline}), deadline, nfe});
      next += absl::Seconds(18 / 4000.0);  // the device does 400 rows a second
    }
    if (!harness_.Tick()) harness_.clock.Advance(next - Now());
  }
  harness_.RunUntilIdle();
  const double capacity = 400 * absl::ToDoubleSeconds(Now() - start);
  int good_rows = 0;
  int accepted = 0;
  int late = 0;
  for (const Sent& one : sent) {
    const auto state = one.job.state();
    accepted += state.accepted.has_value();
    late += state.accepted.has_value() && !state.finished->ok();
    if (state.finished->ok()) good_rows += one.rows;
  }
  EXPECT_GE(good_rows, 0.95 * capacity);
  EXPECT_LE(late, accepted / 100) << "what is accepted is done in time";
  EXPECT_LT(accepted, static_cast<int>(sent.size()) / 3);
}

TEST_F(EnginePressureTest, EvaluationsAreCountedByTenant) {
  harness_.Add(MakePlan(5), {1, 2}, {.tenant = TenantCalled("studio")});
  harness_.Add(MakePlan(3), {3});
  harness_.RunUntilIdle();
  EXPECT_EQ(harness_.metrics.engine.tenant_evaluations.With({"studio"}).Value(), 10);
  EXPECT_EQ(harness_.metrics.engine.tenant_evaluations.With({"default"}).Value(), 3);
}

TEST_F(EnginePressureTest, BatchesKeepToTheKneeOfTheirModel) {
  // Two rows already have 90 % of the best throughput.
  ASSERT_TRUE(harness_.model->cost()
                  .SetProfile({{1, absl::Milliseconds(10)},
                               {2, absl::Milliseconds(11)},
                               {4, absl::Milliseconds(21)}})
                  .ok());
  harness_.Add(MakePlan(3), {1, 2, 3, 4, 5});
  harness_.RunUntilIdle();
  for (const auto& batch : harness_.executor.batches()) EXPECT_LE(batch.rows.size(), 2u);

  EngineHarness fixed(Device(), {.max_batch = 3});
  fixed.Add(MakePlan(3), {1, 2, 3, 4, 5});
  fixed.engine.Step();
  EXPECT_EQ(fixed.executor.batches().at(0).rows.size(), 3u);
}

TEST_F(EnginePressureTest, NoMoreSlotsAreHeldThanAllowed) {
  EngineHarness harness(Device(), {.max_slots = 3});
  harness.Add(MakePlan(9), {1, 2, 3, 4, 5});
  harness.engine.Step();
  EXPECT_EQ(harness.executor.slots_in_use(), 3);
  EXPECT_EQ(harness.metrics.engine.slots.Value(), 3);
}

TEST_F(EnginePressureTest, CostsOfModelsAreTheirOwn) {
  const auto other = *LoadedModel::Load(harness_.executor, "other", "other.safetensors");
  ASSERT_TRUE(other->cost()
                  .SetProfile({{1, absl::Seconds(1)}, {2, absl::Seconds(1)}, {4, absl::Seconds(1)}})
                  .ok());
  EXPECT_EQ(harness_.Add(MakePlan(5), {1}).state().accepted->estimate, 5 * kBatch);
  EXPECT_EQ(harness_.Add(MakePlan(5), {2}, {.model = other}).state().accepted->estimate,
            absl::Seconds(5) + absl::Milliseconds(5 * 10 / 4.0));
}

}  // namespace
}  // namespace skipstream
