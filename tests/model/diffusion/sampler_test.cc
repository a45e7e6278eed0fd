#include "model/diffusion/sampler.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/strict_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace skipstream {
namespace {

using ::testing::AllOf;
using ::testing::DoubleEq;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
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

TEST(CompilePlanTest, SpendsExactlyTheNfeOfItsLevels) {
  for (Solver solver : AllSolvers()) {
    for (int n = 1; n <= 40; ++n) {
      SamplingParams params = Params(solver, *SpacedLevels(KarrasSpacing{}, n, 0.002, 80.0));
      const SamplingPlan plan = Compiled(params);
      EXPECT_EQ(plan.nfe(), NfeForLevels(solver, FinalLevel::kZero, n)) << SolverName(solver);
      EXPECT_EQ(plan.rows(), plan.nfe());
      if (solver == Solver::kConsistency) continue;
      params.final_sigma = 0.001;
      EXPECT_EQ(Compiled(params).nfe(), NfeForLevels(solver, FinalLevel::kPositive, n))
          << SolverName(solver);
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
      const SamplingPlan plan =
          Compiled(Params(solver, *SpacedLevels(KarrasSpacing{6.3}, n, 0.0023, 79.9)));
      // In the order of solver_step.h: base, eval, D, h1, h2, h3, noise.
      EXPECT_THAT(plan.steps.back().a[kNextBase], ElementsAre(0, 0, 1, 0, 0, 0, 0));
    }
  }
}

TEST(CompilePlanTest, OneStepSolversKeepNoHistory) {
  for (Solver solver : {Solver::kEuler, Solver::kHeun, Solver::kDpm2, Solver::kEulerAncestral,
                        Solver::kConsistency}) {
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

TEST(CompilePlanTest, DeterministicSolversDrawNoNoise) {
  for (Solver solver : AllSolvers()) {
    if (TakesStepNoise(solver) || solver == Solver::kConsistency) continue;
    const SamplingPlan plan = Compiled(Params(solver, {80.0, 5.0, 0.1}));
    EXPECT_EQ(plan.initial.noise, 0.0);
    for (const SolverStep& step : plan.steps) {
      EXPECT_FALSE(DrawsNoise(step));
      EXPECT_FALSE(step.uses_noise);
    }
  }
}

TEST(CompilePlanTest, StochasticSolversDrawNoiseBetweenLevelsAndNoneOnTheWayToZero) {
  for (Solver solver : {Solver::kEulerAncestral, Solver::kDpmpp2mSde, Solver::kConsistency}) {
    const SamplingPlan plan = Compiled(Params(solver, {80.0, 5.0, 0.1}));
    EXPECT_EQ(plan.initial.noise, 0.0);
    EXPECT_TRUE(plan.steps[0].uses_noise);
    EXPECT_TRUE(plan.steps[1].uses_noise);
    EXPECT_FALSE(plan.steps[2].uses_noise);
    for (const SolverStep& step : plan.steps) EXPECT_EQ(DrawsNoise(step), step.uses_noise);
  }
}

TEST(CompilePlanTest, EtaZeroIsTheDeterministicSolver) {
  for (const auto& [stochastic, deterministic] :
       {std::pair(Solver::kEulerAncestral, Solver::kEuler),
        std::pair(Solver::kDpmpp2mSde, Solver::kDpmpp2m)}) {
    SamplingParams params = Params(stochastic, {80.0, 5.0, 1.0, 0.1});
    params.step_noise.eta = 0.0;
    const SamplingPlan plan = Compiled(params);
    const SamplingPlan expected = Compiled(Params(deterministic, params.levels));
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      EXPECT_FALSE(plan.steps[i].uses_noise);
      for (int reg = 0; reg < kNumRegisters; ++reg) {
        EXPECT_NEAR(plan.steps[i].a[kNextBase][reg], expected.steps[i].a[kNextBase][reg], 1e-14);
      }
    }
  }
}

TEST(CompilePlanTest, MultistepSolversStartWithLowerOrders) {
  const SigmaLevels levels = *SpacedLevels(KarrasSpacing{}, 20, 0.002, 80.0);
  SamplingParams unipc3 = Params(Solver::kUnipc, levels);
  unipc3.unipc.order = 3;
  for (const SamplingParams& params :
       {Params(Solver::kDpmpp3m, levels), unipc3, Params(Solver::kIpndm, levels)}) {
    const SamplingPlan plan = Compiled(params);
    for (int i = 0; i < 3; ++i) {  // nothing is read before it was pushed
      for (const auto& row : plan.steps[i].a) {
        for (int missing = i; missing < 3; ++missing) EXPECT_EQ(row[kH1 + missing], 0.0);
      }
    }
  }
}

TEST(CompilePlanTest, APositiveFinalLevelIsReachedLikeEveryOther) {
  SamplingParams params = Params(Solver::kEuler, {80.0, 5.0});
  params.final_sigma = 1.0;
  EXPECT_THAT(Compiled(params).steps.back().a[kNextBase], ElementsAre(0, 0.2, 0.8, 0, 0, 0, 0));
  params.solver = Solver::kHeun;
  EXPECT_THAT(StepSigmas(Compiled(params)), ElementsAre(80.0, 5.0, 5.0, 1.0));
  params.solver = Solver::kDpm2;
  EXPECT_THAT(StepSigmas(Compiled(params)),
              ElementsAre(80.0, DoubleEq(20.0), 5.0, DoubleEq(std::sqrt(5.0))));
}

TEST(CompilePlanTest, AnImageIsTheMeanOfWhatItStartsFrom) {
  SamplingParams params = Params(Solver::kHeun, {2.0, 1.0});
  params.starts_from_image = true;
  const SamplingPlan plan = Compiled(params);
  EXPECT_EQ(plan.initial.image, 1.0);
  EXPECT_EQ(plan.initial.latent, 2.0);
}

TEST(CompilePlanTest, AlignedConditioningChangesOnlyWhatTheNetworkIsTold) {
  SamplingParams params = Params(Solver::kHeun, {80.0, 5.0});
  const SamplingPlan plain = Compiled(params);
  params.conditioning_sigmas = {70.0, 6.0, 4.0};
  const SamplingPlan aligned = Compiled(params);
  for (size_t i = 0; i < plain.steps.size(); ++i) {
    EXPECT_EQ(aligned.steps[i].terms[0].conditioning_sigma, params.conditioning_sigmas[i]);
    EXPECT_EQ(aligned.steps[i].sigma, plain.steps[i].sigma);
    EXPECT_EQ(aligned.steps[i].a, plain.steps[i].a);
  }
}

TEST(GuidanceTest, PutsASecondRowInsideItsIntervalOnly) {
  SamplingParams params = Params(Solver::kEuler, {80.0, 5.0, 0.1});
  params.skip_tuning.depth = UniformDepth{0.9};
  params.guidance.scale = 3.0;
  params.guidance.sigma_lo = 1.0;
  params.guidance.sigma_hi = 10.0;
  const SamplingPlan plan = Compiled(params);
  EXPECT_EQ(plan.nfe(), 3);
  EXPECT_EQ(plan.rows(), 4);
  EXPECT_EQ(plan.steps[0].terms.size(), 1u);
  EXPECT_EQ(plan.steps[0].terms[0].weight, 1.0);
  EXPECT_EQ(plan.steps[2].terms.size(), 1u);
  const std::vector<DenoiserTerm>& terms = plan.steps[1].terms;
  ASSERT_EQ(terms.size(), 2u);
  EXPECT_EQ(terms[0].weight, 3.0);
  EXPECT_TRUE(terms[0].conditional);
  EXPECT_EQ(terms[1].weight, -2.0);
  EXPECT_FALSE(terms[1].conditional);
  for (const DenoiserTerm& term : terms) {
    EXPECT_EQ(term.network, 0);
    EXPECT_EQ(term.conditioning_sigma, 5.0);
    EXPECT_THAT(term.rho, ElementsAre(0.9f, 0.9f, 0.9f));
  }
}

TEST(GuidanceTest, EachTermCarriesTheCoefficientsOfItsNetwork) {
  const nlohmann::json no_fields = nlohmann::json::object();
  FieldReader fields(no_fields, "config");
  SamplingParams params = Params(Solver::kEuler, {80.0, 5.0});
  params.parametrization = Preconditioning::Parse("VPPrecond", fields).value();
  params.conditioning_sigmas = {70.0, 6.0};
  params.guidance.scale = 2.0;
  params.guidance.guide_num_skips = 2;
  params.guidance.guide_parametrization = Preconditioning::Parse("VEPrecond", fields).value();
  const SamplingPlan plan = Compiled(params);
  for (size_t i = 0; i < 2; ++i) {
    const SolverStep& step = plan.steps[i];
    const std::vector<Preconditioning> networks = {params.parametrization,
                                                   params.guidance.guide_parametrization};
    ASSERT_EQ(step.terms.size(), networks.size());
    for (size_t n = 0; n < networks.size(); ++n) {
      const DenoiserCoefficients expected =
          networks[n].At(step.sigma, params.conditioning_sigmas[i]);
      const DenoiserCoefficients& got = step.terms[n].coefficients;
      EXPECT_EQ(got.c_skip, expected.c_skip);
      EXPECT_EQ(got.c_out, expected.c_out);
      EXPECT_EQ(got.c_in, expected.c_in);
      EXPECT_EQ(got.c_noise, expected.c_noise);
    }
  }
}

TEST(GuidanceTest, ScaleOneIsNoGuidance) {
  SamplingParams params = Params(Solver::kHeun, {80.0, 5.0});
  params.guidance.guide_num_skips = 2;
  EXPECT_EQ(Compiled(params).rows(), 3);
}

TEST(GuidanceTest, TheGuideNetworkKeepsItsClassAndIsNotSkipTuned) {
  SamplingParams params = Params(Solver::kEuler, {80.0});
  params.skip_tuning.depth = UniformDepth{0.9};
  params.guidance.scale = 2.0;
  params.guidance.guide_num_skips = 2;
  const std::vector<DenoiserTerm> terms = Compiled(params).steps[0].terms;
  ASSERT_EQ(terms.size(), 2u);
  EXPECT_THAT(terms[0].rho, ElementsAre(0.9f, 0.9f, 0.9f));
  EXPECT_EQ(terms[1].network, 1);
  EXPECT_TRUE(terms[1].conditional);
  EXPECT_EQ(terms[1].weight, -1.0);
  EXPECT_THAT(terms[1].rho, ElementsAre(1.0f, 1.0f));
}

TEST(ChurnTest, IsRoundedToTheLevelsTheNetworkKnows) {
  SamplingParams params = Params(Solver::kEuler, {80.0, 5.0});
  params.network_levels = {95.0, 80.0, 6.0, 5.0, 1.0};
  params.churn = {.s_churn = 0.4};  // gamma = 0.2
  const SamplingPlan plan = Compiled(params);
  EXPECT_THAT(StepSigmas(plan), ElementsAre(95.0, 6.0));
  EXPECT_NEAR(plan.initial.noise, std::sqrt(95.0 * 95.0 - 80.0 * 80.0), 1e-11);
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

TEST(CompilePlanTest, RampEndsAtTheFinalLevel) {
  SamplingParams params = Params(Solver::kHeun, {100.0, 1.0});
  params.final_sigma = 0.01;
  params.skip_tuning = {.depth = UniformDepth{0.5}, .noise = RampNoise{true}};
  const SamplingPlan plan = Compiled(params);
  EXPECT_FLOAT_EQ(plan.steps[2].terms[0].rho[0], 0.75f);  // at 1
  EXPECT_EQ(plan.steps[3].terms[0].rho[0], 1.0f);         // the corrector at 0.01
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
    bad = good;
    bad.solver = Solver::kDpmpp2mSde;
    bad.step_noise.s_noise = value;
    EXPECT_THAT(CompileError(bad), StartsWith("s_noise: ")) << value;
  }
  for (double value : {5.0, 6.0, -1.0, kNaN, kInf}) {
    bad = good;
    bad.final_sigma = value;
    EXPECT_THAT(CompileError(bad), StartsWith("final_sigma: ")) << value;
  }
  for (double value : {-0.1, 1.1, kNaN, kInf}) {
    bad = good;
    bad.solver = Solver::kEulerAncestral;
    bad.step_noise.eta = value;
    EXPECT_THAT(CompileError(bad), StartsWith("eta: ")) << value;
  }
  for (double value : {-0.1, kNaN, kInf}) {
    bad = good;
    bad.guidance.scale = value;
    EXPECT_THAT(CompileError(bad), StartsWith("scale: ")) << value;
    bad = good;
    bad.guidance.sigma_lo = value;
    EXPECT_THAT(CompileError(bad), StartsWith("sigma_lo: ")) << value;
    bad = good;
    bad.solver = Solver::kConsistency;
    bad.consistency_sigma_min = value;
    EXPECT_THAT(CompileError(bad), StartsWith("consistency_sigma_min: ")) << value;
  }
  bad = good;
  bad.guidance.sigma_lo = 2.0;
  bad.guidance.sigma_hi = 1.0;
  EXPECT_THAT(CompileError(bad), StartsWith("sigma_hi: "));
  bad = good;
  bad.solver = Solver::kConsistency;
  bad.final_sigma = 1.0;
  EXPECT_THAT(CompileError(bad), StartsWith("final_sigma: must be 0 for consistency"));
  for (int order : {0, 4, -1}) {
    bad = good;
    bad.solver = Solver::kUnipc;
    bad.unipc.order = order;
    EXPECT_THAT(CompileError(bad), StartsWith("order: ")) << order;
  }
  bad = good;
  bad.conditioning_sigmas = {80.0, 5.0};
  EXPECT_THAT(CompileError(bad), StartsWith("conditioning_sigmas: must have 3 values"));
  bad.conditioning_sigmas = {80.0, 0.0, 5.0};
  EXPECT_THAT(CompileError(bad), StartsWith("conditioning_sigmas[1]: "));
}

TEST(CompilePlanTest, MultistepSolversRefuseLevelsThatAreTooCloseAndNameThem) {
  const double next_to_12 = std::nextafter(12.0, 0.0);
  for (Solver solver : AllSolvers()) {
    const bool takes_differences = solver == Solver::kDpmpp2m || solver == Solver::kDpmpp3m ||
                                   solver == Solver::kDpmpp2mSde || solver == Solver::kUnipc;
    for (const double close : {next_to_12, 12.0 * (1 - 1e-12), 12.0 * (1 - 1e-9), 12.0 * (1 - 1e-6),
                               12.0 * (1 - 1e-4)}) {
      const SamplingParams params = Params(solver, {80.0, 40.0, 12.0, close, 4.0, 1.2, 0.4, 0.1});
      if (!takes_differences) {
        EXPECT_EQ(CompileError(params), "") << SolverName(solver) << " " << close;
        continue;
      }
      EXPECT_THAT(CompileError(params),
                  AllOf(StartsWith("the levels 12 and 11.99"), HasSubstr("too close"),
                        HasSubstr(std::string(SolverName(solver)))))
          << close;
    }
    EXPECT_EQ(CompileError(Params(solver, {80.0, 40.0, 12.0, 11.5, 4.0, 1.2, 0.4, 0.1})), "");
  }
  EXPECT_THAT(CompileError(Params(Solver::kUnipc, {12.0, next_to_12, 1.0})),
              HasSubstr("11.999999999999998"))
      << "in as many digits as tell them apart";
}

TEST(CompilePlanTest, NoScheduleOfItsOwnIsTooCloseForItsSolver) {
  for (Solver solver : AllSolvers()) {
    for (const Spacing& spacing :
         {Spacing(KarrasSpacing{}), Spacing(KarrasSpacing{1.0}), Spacing(KarrasSpacing{100.0}),
          Spacing(ExponentialSpacing{}), Spacing(LinearSpacing{}), Spacing(VpSpacing{}),
          Spacing(IddpmSpacing{})}) {
      for (const int n : {1, 2, 3, 5, 9, 15, 19, 35, 100, 900}) {
        for (const double sigma_max : {80.0, 0.003}) {
          const absl::StatusOr<SigmaLevels> levels = SpacedLevels(spacing, n, 0.002, sigma_max);
          if (!levels.ok()) continue;
          EXPECT_EQ(CompileError(Params(solver, *levels)), "") << n;
        }
      }
    }
  }
}

TEST(ChurnTest, IsRefusedForSolversThatDoNotChurn) {
  for (Solver solver : AllSolvers()) {
    SamplingParams params = Params(solver, {80.0, 5.0});
    params.churn.s_churn = 1.0;
    if (TakesChurn(solver)) {
      EXPECT_EQ(CompileError(params), "");
    } else {
      EXPECT_THAT(CompileError(params), StartsWith("s_churn: must be 0 for "));
    }
  }
}

}  // namespace
}  // namespace skipstream
