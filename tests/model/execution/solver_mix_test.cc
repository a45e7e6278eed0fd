// Every solver, guidance and given images on a real network, side by side in the same batches.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/execution/executor_harness.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

constexpr size_t kPlane = 16 * 16;
constexpr size_t kElements = 3 * kPlane;

SamplingParams Params(Solver solver, int levels) {
  SamplingParams params;
  params.solver = solver;
  params.levels = *SpacedLevels(KarrasSpacing{}, levels, 0.002, 80.0);
  params.num_skips = 9;
  params.skip_tuning.depth = LinearDepth{0.8, 1.1};
  return params;
}

PlanPtr Compile(const SamplingParams& params) {
  auto plan = CompilePlan(params);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return std::make_shared<const SamplingPlan>(*std::move(plan));
}

std::shared_ptr<const InitImage> Image(bool masked) {
  InitImage image;
  for (size_t i = 0; i < kElements; ++i) {
    image.pixels.push_back(std::sin(0.1f * static_cast<float>(i)));
  }
  if (masked) {  // the left half stays
    for (size_t i = 0; i < kPlane; ++i) image.mask.push_back(i % 16 < 8 ? 0.0f : 1.0f);
  }
  return std::make_shared<const InitImage>(std::move(image));
}

// One sample of every solver, every other one guided; one that starts from an image and one that
// inpaints it.
std::vector<Sample> EverySolver() {
  std::vector<Sample> samples;
  for (const Solver solver : AllSolvers()) {
    const int index = static_cast<int>(samples.size());
    SamplingParams params = Params(solver, 3 + index % 4);
    if (index % 2 == 1) {
      params.guidance.scale = 2.0;
      params.guidance.sigma_hi = 20.0;
    }
    samples.push_back({static_cast<uint64_t>(100 + index), index % 10, Compile(params)});
  }
  SamplingParams params = Params(Solver::kDpmpp2m, 4);
  params.starts_from_image = true;
  samples.push_back({7, 1, Compile(params), Image(false)});
  samples.push_back({8, 2, Compile(params), Image(true)});
  return samples;
}

double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), kElements);
  EXPECT_EQ(b.size(), kElements);
  double largest = 0.0;
  for (size_t i = 0; i < kElements; ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

class SolverMixTest : public ::testing::TestWithParam<TestedExecutor> {};
INSTANTIATE_TEST_SUITE_P(Executors, SolverMixTest, ::testing::ValuesIn(TestedExecutors()),
                         TestedExecutorName);

TEST_P(SolverMixTest, EverySolverInOneBatchEqualsEachAlone) {
  ExecutorHarness harness(GetParam(), {.max_batch = 32});
  const std::vector<Sample> samples = EverySolver();
  const auto together = harness.RunTogether(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    // LibTorch rounds a batch of one differently; a pixel value is 8e-3 wide.
    EXPECT_LT(LargestDifference(together[i], harness.RunAlone(samples[i])), 1e-3) << i;
  }
}

TEST_P(SolverMixTest, DeterministicModeGivesTheSameBytesForEverySolver) {
  ExecutorHarness harness(GetParam(), {.max_batch = 20, .deterministic = true});
  std::vector<Sample> samples = EverySolver();
  const auto together = harness.RunTogether(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(together[i], harness.RunAlone(samples[i])) << i;
  }
}

TEST_P(SolverMixTest, BothRowsOfAnEvaluationInOneBatchEqualTwoBatches) {
  ExecutorHarness harness(GetParam(), {.max_batch = 2, .deterministic = true});
  SamplingParams params = Params(Solver::kHeun, 2);
  params.guidance.scale = 3.0;
  const Sample sample = {5, 4, Compile(params)};
  const std::vector<double> together = harness.RunAlone(sample);
  const SlotId slot = harness.Allocate(sample);
  for (int step = 0; step < sample.plan->nfe(); ++step) {
    for (int term = 0; term < 2; ++term) {
      harness.Submit(step, {{slot, sample.class_index, sample.plan, step, term}});
    }
  }
  EXPECT_EQ(harness.executor().ReadRegister(slot, kBase), together);
}

TEST_P(SolverMixTest, GuidanceByTheSameNetworkChangesNothingAndByAnotherOneDoes) {
  ExecutorHarness harness(GetParam(), {.max_batch = 1, .deterministic = true});
  SamplingParams params = Params(Solver::kEuler, 3);
  params.skip_tuning = {};
  const std::vector<double> plain = harness.RunAlone({5, 4, Compile(params)});
  params.guidance.scale = 2.5;
  params.guidance.guide_num_skips = 9;
  const PlanPtr plan = Compile(params);
  const auto guided_by = [&](NetworkId guide, const PlanPtr& by_plan) {
    const SlotId slot = harness.Allocate({5, 4, by_plan});
    for (int step = 0; step < by_plan->nfe(); ++step) {
      harness.Submit(step, {{slot, 4, by_plan, step, 0}});
      harness.executor().Submit({1, guide, {{slot, 4, by_plan, step, 1}}});
    }
    return harness.executor().ReadRegister(slot, kBase);
  };
  const NetworkId same = harness.executor().LoadNetwork(kDdpmppEdmFixture, "param.").value();
  EXPECT_LT(LargestDifference(guided_by(same, plan), plain), 1e-5);
  // The guide made worse: its skips are turned down.
  auto worse = std::make_shared<SamplingPlan>(*plan);
  for (SolverStep& step : worse->steps) step.terms[1].rho.assign(9, 0.5f);
  EXPECT_GT(LargestDifference(guided_by(same, worse), plain), 1e-2);
}

TEST_P(SolverMixTest, InpaintingKeepsTheMaskedPartExactly) {
  ExecutorHarness harness(GetParam());
  for (const Solver solver : AllSolvers()) {
    SamplingParams params = Params(solver, 3);
    params.starts_from_image = true;
    const auto image = Image(true);
    const std::vector<double> made = harness.RunAlone({9, 3, Compile(params), image});
    double change = 0.0;
    for (size_t i = 0; i < kElements; ++i) {
      if (i % 16 < 8) {
        ASSERT_EQ(made[i], image->pixels[i]) << SolverName(solver) << " " << i;
      } else {
        change = std::max(change, std::abs(made[i] - image->pixels[i]));
      }
    }
    EXPECT_GT(change, 0.1) << SolverName(solver);
  }
}

TEST_P(SolverMixTest, AFreedSlotForgetsItsImage) {
  ExecutorHarness harness(GetParam(), {.max_batch = 1, .num_slots = 1, .deterministic = true});
  const Sample plain = {5, 4, Compile(Params(Solver::kEuler, 2))};
  const std::vector<double> before = harness.RunAlone(plain);
  SamplingParams params = Params(Solver::kEuler, 2);
  params.starts_from_image = true;
  harness.RunAlone({5, 4, Compile(params), Image(true)});
  EXPECT_EQ(harness.RunAlone(plain), before);
}

}  // namespace
}  // namespace skipstream
