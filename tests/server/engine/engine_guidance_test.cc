// Evaluations of several rows: classifier-free guidance and autoguidance; and that an executor is
// called exactly as often as a request's NFE says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "model/diffusion/sampler.h"
#include "tests/server/engine/engine_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::shared_ptr<const SamplingPlan> Compile(SamplingParams params, int levels) {
  params.levels = SpacedLevels(KarrasSpacing{}, levels, 0.002, 80.0).value();
  params.num_skips = 4;
  return std::make_shared<const SamplingPlan>(CompilePlan(params).value());
}

// Returns the submitted rows of each step of the sample with `seed`.
std::vector<int> RowsPerStep(const PuppetExecutor& executor, uint64_t seed, int steps) {
  std::vector<int> rows(steps, 0);
  for (const PuppetExecutor::Call& batch : executor.batches()) {
    for (const PuppetExecutor::Row& row : batch.rows) {
      if (row.seed == seed) ++rows.at(row.step);
    }
  }
  return rows;
}

TEST(EngineGuidanceTest, BothRowsOfAGuidedEvaluationRideInOneBatch) {
  EngineHarness harness;
  harness.Add(MakePlan(3, /*terms=*/2), {7});
  harness.RunUntilIdle();
  const auto batches = harness.executor.batches();
  ASSERT_EQ(batches.size(), 3u);
  for (const auto& batch : batches) EXPECT_THAT(Seeds(batch), ElementsAre(7, 7));
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
}

TEST(EngineGuidanceTest, AFullBatchTakesTheRestOfAnEvaluationWithTheNextOne) {
  EngineHarness harness({.max_batch = 3});
  const auto first = harness.Add(MakePlan(2, /*terms=*/2), {1});
  const auto second = harness.Add(MakePlan(2, /*terms=*/2), {2});
  harness.RunUntilIdle();
  EXPECT_THAT(Seeds(harness.executor.batches()[0]), ElementsAre(1, 1, 2));
  EXPECT_TRUE(first.finished()->ok());
  EXPECT_TRUE(second.finished()->ok());
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
  EXPECT_EQ(second.state().images.at(0).data, ImageMadeAlone(MakePlan(2, 2), 2));
}

TEST(EngineGuidanceTest, BatchesOfOneRowServeGuidedSamplesToo) {
  EngineHarness harness({.max_batch = 1});
  const auto job = harness.Add(MakePlan(3, /*terms=*/2), {5});
  harness.RunUntilIdle();
  EXPECT_TRUE(job.finished()->ok());
  EXPECT_EQ(harness.executor.batches().size(), 6u);
  EXPECT_EQ(job.state().images.at(0).data, ImageMadeAlone(MakePlan(3, 2), 5));
}

TEST(EngineGuidanceTest, AutoguidanceAlternatesBetweenBothNetworks) {
  EngineHarness harness({.max_in_flight = 2});
  const auto guide = *LoadedModel::Load(harness.executor, "guide", "guide.safetensors");
  SamplingParams params;
  params.solver = Solver::kEuler;
  params.guidance.scale = 2.0;
  params.guidance.guide_num_skips = 4;
  const auto plan = Compile(params, 3);
  JobOptions options;
  options.guide = guide;
  const auto guided = harness.Add(plan, {1}, options);
  const auto plain = harness.Add(MakePlan(9), {2});
  harness.RunUntilIdle();
  EXPECT_TRUE(guided.finished()->ok());
  EXPECT_TRUE(plain.finished()->ok());
  EXPECT_THAT(harness.executor.violations(), IsEmpty());
  std::vector<NetworkId> networks;  // of the guided sample's rows, in order
  for (const auto& batch : harness.executor.batches()) {
    for (const auto& row : batch.rows) {
      if (row.seed != 1) continue;
      networks.push_back(batch.network);
      EXPECT_EQ(row.term, batch.network == guide->network() ? 1 : 0);
    }
  }
  const NetworkId own = harness.model->network();
  const NetworkId other = guide->network();
  EXPECT_THAT(networks, ElementsAre(own, other, own, other, own, other));
}

TEST(EngineGuidanceTest, TheGuideStaysLoadedUntilTheLastJobThatUsesItIsDone) {
  EngineHarness harness;
  auto guide = *LoadedModel::Load(harness.executor, "guide", "guide.safetensors");
  const NetworkId network = guide->network();
  SamplingParams params;
  params.guidance.scale = 2.0;
  params.guidance.guide_num_skips = 4;
  JobOptions options;
  options.guide = guide;
  const auto job = harness.Add(Compile(params, 3), {1}, options);
  options.guide.reset();
  guide.reset();
  EXPECT_EQ(harness.executor.networks().count(network), 1u);
  harness.RunUntilIdle();
  EXPECT_TRUE(job.finished()->ok());
  EXPECT_EQ(harness.executor.networks().count(network), 0u);
}

TEST(EngineGuidanceTest, ProgressCountsEvaluationsAndTheCostCountsRows) {
  EngineHarness harness;
  const auto job = harness.Add(MakePlan(2, /*terms=*/2), {5});
  const auto behind = harness.Add(MakePlan(2), {6});
  EXPECT_EQ(behind.state().accepted->evaluations_ahead, 4);
  harness.RunUntilIdle();
  EXPECT_THAT(job.state().events, ElementsAre("accepted", "progress 0 1/2", "progress 0 2/2",
                                              "image 0", "finished OK"));
}

TEST(NfeTest, TheDenoiserIsCalledExactlyAsOftenAsTheNfeSaysForEverySolver) {
  for (const Solver solver : AllSolvers()) {
    for (const bool guided : {false, true}) {
      SamplingParams params;
      params.solver = solver;
      if (guided) {
        params.guidance.scale = 3.0;
        params.guidance.sigma_lo = 0.1;
        params.guidance.sigma_hi = 20.0;
      }
      const auto plan = Compile(params, 7);
      EXPECT_EQ(plan->nfe(), NfeForLevels(solver, FinalLevel::kZero, 7));
      EngineHarness harness;
      const auto job = harness.Add(plan, {9});
      harness.RunUntilIdle();
      ASSERT_TRUE(job.finished()->ok());
      int total = 0;
      const std::vector<int> rows = RowsPerStep(harness.executor, 9, plan->nfe());
      for (int step = 0; step < plan->nfe(); ++step) {
        const double sigma = plan->steps[step].sigma;
        EXPECT_EQ(rows[step], guided && sigma >= 0.1 && sigma <= 20.0 ? 2 : 1)
            << SolverName(solver) << " at " << sigma;
        total += rows[step];
      }
      EXPECT_EQ(total, plan->rows());
    }
  }
}

}  // namespace
}  // namespace skipstream
