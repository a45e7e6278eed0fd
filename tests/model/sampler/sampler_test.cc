#include "model/sampler/sampler.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

SamplingParams Params(Solver solver, SigmaLevels levels) {
  SamplingParams params;
  params.solver = solver;
  params.levels = std::move(levels);
  params.num_skips = 3;
  return params;
}

SamplingPlan Compiled(const SamplingParams& params) {
  const auto plan = CompilePlan(params);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.value_or(SamplingPlan{});
}

// The message when refused; empty when accepted.
std::string CompileError(const SamplingParams& params) {
  const absl::Status status = CompilePlan(params).status();
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

std::vector<double> StepSigmas(const SamplingPlan& plan) {
  std::vector<double> sigmas;
  for (const SolverStep& step : plan.steps) sigmas.push_back(step.sigma);
  return sigmas;
}

bool DrawsNoise(const SolverStep& step) {
  return step.a[kNextBase][kNoise] != 0.0 || step.a[kNextEval][kNoise] != 0.0 ||
         step.a[kPushed][kNoise] != 0.0;
}

TEST(SolverTest, NamesAreLowerCaseAndRoundTrip) {
  EXPECT_THAT(AllSolvers(), ElementsAre(Solver::kEuler, Solver::kHeun));
  EXPECT_EQ(SolverName(Solver::kEuler), "euler");
  EXPECT_EQ(SolverName(Solver::kHeun), "heun");
  for (Solver solver : AllSolvers()) EXPECT_EQ(SolverFromName(SolverName(solver)), solver);
  for (const char* unknown : {"", "Heun", "unipc"})
    EXPECT_FALSE(SolverFromName(unknown)) << unknown;
}

TEST(LevelsForNfeTest, IsTheInverseOfNfeForLevels) {
  for (Solver solver : AllSolvers()) {
    for (int n = 1; n <= 100; ++n) {
      const auto levels = LevelsForNfe(solver, NfeForLevels(solver, n));
      ASSERT_TRUE(levels.ok()) << levels.status();
      EXPECT_EQ(*levels, n) << SolverName(solver);
    }
  }
  EXPECT_EQ(NfeForLevels(Solver::kHeun, 18), 35);
  EXPECT_EQ(NfeForLevels(Solver::kEuler, 18), 18);
}

TEST(LevelsForNfeTest, EvenNfeWithHeunOffersBothNeighbours) {
  const absl::Status status = LevelsForNfe(Solver::kHeun, 18).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(status.message(),
            "nfe: Heun needs an odd number of evaluations; 18 is not possible, 17 and 19 are");
  EXPECT_TRUE(LevelsForNfe(Solver::kEuler, 18).ok());
}

TEST(LevelsForNfeTest, RefusesLessThanOne) {
  for (Solver solver : AllSolvers()) {
    for (int nfe : {0, -1, std::numeric_limits<int>::min()}) {
      const absl::Status status = LevelsForNfe(solver, nfe).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      EXPECT_THAT(std::string(status.message()), StartsWith("nfe: must be at least 1")) << nfe;
    }
  }
}

TEST(CompilePlanTest, SpendsExactlyTheNfeOfItsLevels) {
  for (Solver solver : AllSolvers()) {
    for (int n = 1; n <= 40; ++n) {
      const SamplingPlan plan = Compiled(Params(solver, *KarrasLevels(n, 0.002, 80.0, 7.0)));
      EXPECT_EQ(plan.nfe(), NfeForLevels(solver, n)) << SolverName(solver) << " " << n;
      EXPECT_EQ(plan.rows(), plan.nfe());
    }
  }
}

TEST(CompilePlanTest, StartsFromLatentsAtTheHighestLevel) {
  const SamplingPlan plan = Compiled(Params(Solver::kHeun, {80.0, 1.0}));
  EXPECT_EQ(plan.initial.latent, 80.0);
  EXPECT_EQ(plan.initial.image, 0.0);
  EXPECT_EQ(plan.initial.noise, 0.0);
}

TEST(CompilePlanTest, EulerEvaluatesEveryLevelOnce) {
  EXPECT_THAT(StepSigmas(Compiled(Params(Solver::kEuler, {80.0, 5.0, 0.1}))),
              ElementsAre(80.0, 5.0, 0.1));
}

TEST(CompilePlanTest, HeunEvaluatesEveryLevelButTheFirstTwice) {
  EXPECT_THAT(StepSigmas(Compiled(Params(Solver::kHeun, {80.0, 5.0, 0.1}))),
              ElementsAre(80.0, 5.0, 5.0, 0.1, 0.1));
}

TEST(CompilePlanTest, NetworkIsToldTheTrueNoiseLevel) {
  SamplingParams params = Params(Solver::kHeun, {80.0, 5.0, 0.1});
  params.churn.s_churn = 40.0;
  for (const SolverStep& step : Compiled(params).steps) {
    ASSERT_EQ(step.terms.size(), 1u);
    EXPECT_EQ(step.terms[0].conditioning_sigma, step.sigma);
    EXPECT_EQ(step.terms[0].weight, 1.0);
    EXPECT_TRUE(step.terms[0].conditional);
  }
}

TEST(CompilePlanTest, LastStepIsExactlyTheDenoisedImage) {
  for (Solver solver : AllSolvers()) {
    for (int n : {1, 2, 7}) {
      const SamplingPlan plan = Compiled(Params(solver, *KarrasLevels(n, 0.0023, 79.9, 6.3)));
      // In the order of solver_step.h: base, eval, D, h1, h2, h3, noise.
      EXPECT_THAT(plan.steps.back().a[kNextBase], ElementsAre(0, 0, 1, 0, 0, 0, 0));
    }
  }
}

TEST(CompilePlanTest, OneStepSolversKeepNoHistory) {
  for (Solver solver : AllSolvers()) {
    for (const SolverStep& step : Compiled(Params(solver, {80.0, 5.0, 0.1})).steps) {
      EXPECT_FALSE(step.push);
      EXPECT_THAT(step.a[kPushed], Each(0.0));
      for (const auto& row : step.a) {
        for (int history : {kH1, kH2, kH3}) EXPECT_EQ(row[history], 0.0);
      }
    }
  }
}

TEST(CompilePlanTest, HeunPredictorKeepsBaseForTheCorrector) {
  const SamplingPlan plan = Compiled(Params(Solver::kHeun, {8.0, 2.0}));
  EXPECT_THAT(plan.steps[0].a[kNextBase], ElementsAre(1, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(plan.steps[0].a[kNextEval], ElementsAre(0, 0.25, 0.75, 0, 0, 0, 0));
  // base / 2 + eval / 2 + (2 - 8) / (2 * 2) * (eval - D)
  EXPECT_THAT(plan.steps[1].a[kNextBase], ElementsAre(0.5, -1, 1.5, 0, 0, 0, 0));
  EXPECT_EQ(plan.steps[1].a[kNextEval], plan.steps[1].a[kNextBase]);
}

TEST(ChurnTest, WithoutItThePlanDrawsNoNoise) {
  for (Solver solver : AllSolvers()) {
    const SamplingPlan plan = Compiled(Params(solver, {80.0, 5.0, 0.1}));
    EXPECT_EQ(plan.initial.noise, 0.0);
    for (const SolverStep& step : plan.steps) {
      EXPECT_FALSE(DrawsNoise(step));
      EXPECT_FALSE(step.uses_noise);
    }
  }
}

TEST(ChurnTest, LiftsTheLevelsAndAddsTheMissingNoiseInTheStepBefore) {
  SamplingParams params = Params(Solver::kEuler, {80.0, 5.0, 0.1});
  params.churn = {.s_churn = 0.75, .s_noise = 1.5};  // gamma = 0.75 / 3
  const SamplingPlan plan = Compiled(params);
  EXPECT_THAT(StepSigmas(plan), ElementsAre(100.0, 6.25, 0.125));
  EXPECT_EQ(plan.initial.latent, 80.0);
  EXPECT_NEAR(plan.initial.noise, 1.5 * std::sqrt(100.0 * 100.0 - 80.0 * 80.0), 1e-11);
  const double second = 1.5 * std::sqrt(6.25 * 6.25 - 5.0 * 5.0);
  EXPECT_NEAR(plan.steps[0].a[kNextBase][kNoise], second, 1e-12);
  EXPECT_NEAR(plan.steps[0].a[kNextEval][kNoise], second, 1e-12);
  EXPECT_TRUE(plan.steps[0].uses_noise);
  EXPECT_FALSE(plan.steps[2].uses_noise);
}

TEST(ChurnTest, HeunChurnsAfterTheCorrectorOnly) {
  SamplingParams params = Params(Solver::kHeun, {80.0, 5.0, 0.1});
  params.churn.s_churn = 0.75;
  const SamplingPlan plan = Compiled(params);
  EXPECT_THAT(StepSigmas(plan), ElementsAre(100.0, 5.0, 6.25, 0.1, 0.125));
  std::vector<bool> uses_noise;
  for (const SolverStep& step : plan.steps) {
    uses_noise.push_back(step.uses_noise);
    EXPECT_EQ(DrawsNoise(step), step.uses_noise);
  }
  EXPECT_THAT(uses_noise, ElementsAre(false, true, false, true, false));
}

TEST(ChurnTest, IsBoundedBySquareRootOfTwo) {
  SamplingParams params = Params(Solver::kEuler, {80.0, 5.0});
  params.churn.s_churn = 1000.0;
  EXPECT_DOUBLE_EQ(Compiled(params).steps[1].sigma, 5.0 * std::numbers::sqrt2);
}

TEST(ChurnTest, AppliesInsideItsRangeEdgesIncluded) {
  SamplingParams params = Params(Solver::kEuler, {80.0, 50.0, 5.0, 0.5, 0.1});
  params.churn = {.s_churn = 5 * 0.25, .s_min = 0.5, .s_max = 50.0};
  const SamplingPlan plan = Compiled(params);
  EXPECT_THAT(StepSigmas(plan), ElementsAre(80.0, 62.5, 6.25, 0.625, 0.1));
  EXPECT_EQ(plan.initial.noise, 0.0);
  EXPECT_FALSE(plan.steps[3].uses_noise);
}

TEST(CompilePlanTest, EveryTermCarriesOneRhoPerSkip) {
  SamplingParams params = Params(Solver::kHeun, {80.0, 5.0});
  params.skip_tuning.depth = ExplicitDepth{{0.7, 0.8, 0.9}};
  for (const SolverStep& step : Compiled(params).steps) {
    EXPECT_THAT(step.terms[0].rho, ElementsAre(0.7f, 0.8f, 0.9f));
  }
}

TEST(CompilePlanTest, NoiseProfileIsTakenAtTheSigmaOfTheStep) {
  SamplingParams params = Params(Solver::kHeun, {80.0, 5.0, 0.1});
  params.skip_tuning = {.depth = UniformDepth{0.7}, .noise = WindowNoise{1.0, 10.0}};
  std::vector<float> rho;
  for (const SolverStep& step : Compiled(params).steps) rho.push_back(step.terms[0].rho[0]);
  EXPECT_THAT(rho, ElementsAre(1.0f, 0.7f, 0.7f, 1.0f, 1.0f));
}

TEST(CompilePlanTest, NoiseProfileSeesTheChurnedSigma) {
  SamplingParams params = Params(Solver::kEuler, {80.0, 5.0});
  params.churn.s_churn = 0.5;
  params.skip_tuning = {.depth = UniformDepth{0.7}, .noise = WindowNoise{0.0, 5.0}};
  EXPECT_EQ(Compiled(params).steps[1].terms[0].rho[0], 1.0f);  // evaluated at 6.25
}

TEST(CompilePlanTest, RampSpansTheLevelsOfTheSchedule) {
  SamplingParams params = Params(Solver::kEuler, {100.0, 1.0, 0.01});
  params.churn.s_churn = 0.3;
  params.churn.s_min = 10.0;
  params.skip_tuning = {.depth = UniformDepth{0.5}, .noise = RampNoise{true}};
  const SamplingPlan plan = Compiled(params);
  EXPECT_EQ(plan.steps[0].terms[0].rho[0], 0.5f);
  EXPECT_FLOAT_EQ(plan.steps[1].terms[0].rho[0], 0.75f);
  EXPECT_EQ(plan.steps[2].terms[0].rho[0], 1.0f);
}

TEST(CompilePlanTest, RefusesWhatIsOutOfRangeByName) {
  const SamplingParams good = Params(Solver::kHeun, {80.0, 5.0});
  EXPECT_EQ(CompileError(good), "");
  SamplingParams bad = good;
  bad.levels = {5.0, 80.0};
  EXPECT_THAT(CompileError(bad), StartsWith("levels[1]: "));
  bad = good;
  bad.levels = {1e300, 1e-300};
  EXPECT_THAT(CompileError(bad), StartsWith("levels: "));
  bad = good;
  bad.num_skips = 0;
  EXPECT_THAT(CompileError(bad), StartsWith("num_skips: "));
  bad = good;
  bad.skip_tuning.depth = ExplicitDepth{{1.0, 1.0}};
  EXPECT_THAT(CompileError(bad), StartsWith("rho: must have 3 values"));
  bad = good;
  bad.skip_tuning.noise = KnotsNoise{};
  EXPECT_THAT(CompileError(bad), StartsWith("knots: "));
  for (double value : {-1.0, kNaN, kInf}) {
    bad = good;
    bad.churn.s_churn = value;
    EXPECT_THAT(CompileError(bad), StartsWith("s_churn: ")) << value;
    bad = good;
    bad.churn.s_min = value;
    EXPECT_THAT(CompileError(bad), StartsWith("s_min: ")) << value;
  }
  for (double value : {0.5, -1.0, kNaN}) {
    bad = good;
    bad.churn.s_min = 1.0;
    bad.churn.s_max = value;
    EXPECT_THAT(CompileError(bad), StartsWith("s_max: must be at least s_min (1)")) << value;
  }
  for (double value : {0.0, -1.0, kNaN, kInf}) {
    bad = good;
    bad.churn.s_noise = value;
    EXPECT_THAT(CompileError(bad), StartsWith("s_noise: ")) << value;
  }
}

}  // namespace
}  // namespace skipstream
