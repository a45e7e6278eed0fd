// Whole plans on data that is Gaussian, where the ideal denoiser and the exact solution of the
// probability flow are known in closed form.
#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/diffusion/sampler.h"
#include "tests/testing/plan_interpreter.h"

namespace skipstream {
namespace {

constexpr double kMean = 0.3;
constexpr double kStddev = 0.5;

// E[y | y + sigma * n = x] for y ~ N(kMean, kStddev^2).
double GaussianDenoiser(double x, double sigma) {
  const double variance = kStddev * kStddev;
  return kMean + (x - kMean) * variance / (variance + sigma * sigma);
}

// Returns the end at 0 of dx/dsigma = (x - D(x; sigma)) / sigma that starts from x at `sigma`.
double ExactSolution(double x, double sigma) {
  return kMean + (x - kMean) * kStddev / std::hypot(kStddev, sigma);
}

// Bends the trajectories, so that a wrong slope cannot hide behind linearity.
double CurvedDenoiser(double x, double sigma) { return std::tanh(x / (1.0 + sigma * sigma)); }

NormalSource Normals(int seed) {
  return [engine = std::mt19937(seed), normal = std::normal_distribution<double>()]() mutable {
    return normal(engine);
  };
}

std::vector<double> Latents(int count, int seed) {
  NormalSource normal = Normals(seed);
  std::vector<double> latents(count);
  for (double& value : latents) value = normal();
  return latents;
}

SamplingPlan Compiled(Solver solver, const SigmaLevels& levels, const Churn& churn = {}) {
  SamplingParams params;
  params.solver = solver;
  params.levels = levels;
  params.churn = churn;
  params.num_skips = 1;
  const auto plan = CompilePlan(params);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.value_or(SamplingPlan{});
}

// EDM, Algorithm 2 (Algorithm 1 when s_churn is 0), line by line.
std::vector<double> Algorithm2(Solver solver, const SigmaLevels& levels, const Churn& churn,
                               const ScalarDenoiser& denoiser, const std::vector<double>& latents,
                               NormalSource normal) {
  const int n = static_cast<int>(levels.size());
  SigmaLevels t = levels;
  t.push_back(0.0);
  std::vector<double> x = latents;
  for (double& value : x) value *= t[0];
  for (int i = 0; i < n; ++i) {
    const double gamma = t[i] >= churn.s_min && t[i] <= churn.s_max
                             ? std::min(churn.s_churn / n, std::numbers::sqrt2 - 1.0)
                             : 0.0;
    const double t_hat = t[i] + gamma * t[i];
    for (double& value : x) {
      double x_hat = value;
      if (gamma > 0.0) {
        x_hat += std::sqrt(t_hat * t_hat - t[i] * t[i]) * churn.s_noise * normal();
      }
      const double d = (x_hat - denoiser(x_hat, t_hat)) / t_hat;
      value = x_hat + (t[i + 1] - t_hat) * d;
      if (solver == Solver::kHeun && t[i + 1] != 0.0) {
        const double d_prime = (value - denoiser(value, t[i + 1])) / t[i + 1];
        value = x_hat + (t[i + 1] - t_hat) * (0.5 * d + 0.5 * d_prime);
      }
    }
  }
  return x;
}

TEST(TrajectoryTest, PlanEqualsTheAlgorithmOfThePaper) {
  const std::vector<Churn> churns = {
      {},
      {.s_churn = 40.0, .s_min = 0.05, .s_max = 50.0, .s_noise = 1.003},
      {.s_churn = 3.0, .s_noise = 1.5},
      {.s_churn = 1000.0},
  };
  const std::vector<double> latents = Latents(16, 1);
  for (Solver solver : {Solver::kEuler, Solver::kHeun}) {
    for (const Churn& churn : churns) {
      for (int n : {1, 2, 5, 18, 40}) {
        const SigmaLevels levels = *SpacedLevels(KarrasSpacing{}, n, 0.002, 80.0);
        PlanInterpreter interpreter(CurvedDenoiser, Normals(7));
        const std::vector<double> compiled =
            interpreter.Run(Compiled(solver, levels, churn), latents);
        const std::vector<double> expected =
            Algorithm2(solver, levels, churn, CurvedDenoiser, latents, Normals(7));
        for (size_t i = 0; i < latents.size(); ++i) {
          EXPECT_NEAR(compiled[i], expected[i], 1e-12)
              << SolverName(solver) << " n=" << n << " s_churn=" << churn.s_churn;
        }
      }
    }
  }
}

TEST(TrajectoryTest, OneLevelIsOneDenoiserCall) {
  for (Solver solver : AllSolvers()) {
    PlanInterpreter interpreter(GaussianDenoiser);
    EXPECT_THAT(interpreter.Run(Compiled(solver, {80.0}), {0.25}),
                testing::ElementsAre(GaussianDenoiser(20.0, 80.0)));
  }
}

TEST(TrajectoryTest, EveryDeterministicSolverReachesTheExactSolution) {
  const std::vector<double> latents = {-1.5, -0.4, 0.2, 1.0, 2.0};
  const SigmaLevels levels = *SpacedLevels(KarrasSpacing{}, 200, 1e-5, 10.0);
  for (Solver solver : AllSolvers()) {
    if (TakesStepNoise(solver) || solver == Solver::kConsistency) continue;
    PlanInterpreter interpreter(GaussianDenoiser);
    const std::vector<double> samples = interpreter.Run(Compiled(solver, levels), latents);
    for (size_t i = 0; i < latents.size(); ++i) {
      EXPECT_NEAR(samples[i], ExactSolution(10.0 * latents[i], 10.0),
                  solver == Solver::kEuler ? 2e-2 : 1e-3)
          << SolverName(solver);
    }
  }
}

// Mean and variance within 4 standard errors of those of the data.
void ExpectDataDistribution(const SamplingParams& params) {
  constexpr int kSamples = 20000;
  const auto plan = CompilePlan(params);
  ASSERT_TRUE(plan.ok()) << plan.status();
  PlanInterpreter interpreter(GaussianDenoiser, Normals(11));
  const std::vector<double> samples = interpreter.Run(*plan, Latents(kSamples, 5));
  double mean = 0.0;
  for (double sample : samples) mean += sample / kSamples;
  double variance = 0.0;
  for (double sample : samples) variance += (sample - mean) * (sample - mean) / (kSamples - 1);
  const double true_variance = kStddev * kStddev;
  EXPECT_NEAR(mean, kMean, 4.0 * kStddev / std::sqrt(kSamples));
  EXPECT_NEAR(variance, true_variance, 4.0 * true_variance * std::sqrt(2.0 / kSamples));
}

SamplingParams LongRun(Solver solver, int levels) {
  SamplingParams params;
  params.solver = solver;
  params.levels = *SpacedLevels(KarrasSpacing{}, levels, 0.002, 80.0);
  params.num_skips = 1;
  return params;
}

TEST(DistributionTest, ChurnKeepsTheDataDistribution) {
  SamplingParams params = LongRun(Solver::kHeun, 128);
  params.churn.s_churn = 30.0;
  ExpectDataDistribution(params);
}

TEST(DistributionTest, EulerAncestralSamplesTheData) {
  ExpectDataDistribution(LongRun(Solver::kEulerAncestral, 1500));
}

TEST(DistributionTest, Dpmpp2mSdeSamplesTheData) {
  for (double eta : {0.5, 1.0}) {
    SamplingParams params = LongRun(Solver::kDpmpp2mSde, 200);
    params.step_noise.eta = eta;
    ExpectDataDistribution(params);
  }
}

// A consistency function maps every point of a trajectory to its end; here it is known exactly, and
// any number of steps samples the data.
TEST(DistributionTest, ConsistencySamplesTheDataInAnyNumberOfSteps) {
  for (int levels : {1, 2, 4}) {
    SamplingParams params = LongRun(Solver::kConsistency, levels);
    params.consistency_sigma_min = 0.0;
    const SamplingPlan plan = *CompilePlan(params);
    constexpr int kSamples = 20000;
    PlanInterpreter interpreter(ExactSolution, Normals(11));
    const std::vector<double> samples = interpreter.Run(plan, Latents(kSamples, 5));
    double mean = 0.0;
    double square = 0.0;
    for (double sample : samples) {
      mean += sample / kSamples;
      square += sample * sample / kSamples;
    }
    EXPECT_NEAR(mean, kMean, 4.0 * kStddev / std::sqrt(kSamples)) << levels;
    EXPECT_NEAR(square - mean * mean, kStddev * kStddev,
                4.0 * kStddev * kStddev * std::sqrt(2.0 / kSamples))
        << levels;
  }
}

TEST(InitImageRequestTest, InpaintingKeepsWhatTheMaskKeepsAndMakesTheRest) {
  for (Solver solver : AllSolvers()) {
    PlanInterpreter plain(CurvedDenoiser, Normals(3));
    PlanInterpreter masked(CurvedDenoiser, Normals(3));
    SamplingParams params = LongRun(solver, 9);
    params.starts_from_image = true;
    const SamplingPlan plan = *CompilePlan(params);
    plain.GiveInitImage({0.8, 0.8});
    masked.GiveInitImage({0.8, 0.8}, {0.0, 1.0});
    const std::vector<double> latents = {-1.0, 0.7};
    const std::vector<double> without = plain.Run(plan, latents);
    const std::vector<double> with = masked.Run(plan, latents);
    EXPECT_EQ(with[0], 0.8) << SolverName(solver);
    EXPECT_EQ(with[1], without[1]) << SolverName(solver);
    EXPECT_NE(without[0], 0.8) << SolverName(solver);
  }
}

TEST(GuidanceTest, MixesBothTermsInsideTheInterval) {
  SamplingParams params = LongRun(Solver::kEuler, 6);
  params.guidance.scale = 2.5;
  params.guidance.sigma_lo = 0.1;
  params.guidance.sigma_hi = 20.0;
  const TermDenoiser two = [](double x, double sigma, const DenoiserTerm& term) {
    return GaussianDenoiser(x, sigma) + (term.conditional ? 0.2 : -0.1);
  };
  const ScalarDenoiser mixed = [](double x, double sigma) {
    const bool guided = sigma >= 0.1 && sigma <= 20.0;
    return GaussianDenoiser(x, sigma) + (guided ? 2.5 * 0.2 - 1.5 * -0.1 : 0.2);
  };
  const double guided = PlanInterpreter(two).Run(*CompilePlan(params), {0.4})[0];
  EXPECT_NEAR(guided, PlanInterpreter(mixed).Run(Compiled(Solver::kEuler, params.levels), {0.4})[0],
              1e-12);
}

TEST(TrajectoryTest, ChurnMakesASampleDependOnItsNoise) {
  const SigmaLevels levels = *SpacedLevels(KarrasSpacing{}, 18, 0.002, 80.0);
  const SamplingPlan plan = Compiled(Solver::kHeun, levels, {.s_churn = 30.0});
  PlanInterpreter one(GaussianDenoiser, Normals(1));
  PlanInterpreter other(GaussianDenoiser, Normals(2));
  EXPECT_GT(std::abs(one.Run(plan, {0.5})[0] - other.Run(plan, {0.5})[0]), 1e-3);
}

// Fails if the interpreter above stopped catching it.
TEST(PlanInterpreterTest, ReadingARegisterNobodyWroteGivesNaN) {
  const SamplingPlan good = Compiled(Solver::kEuler, {80.0, 5.0});
  for (int unset : {kH1, kH2, kH3, kNoise}) {
    SamplingPlan plan = good;
    plan.steps[0].a[kNextEval][unset] = 1e-9;
    EXPECT_TRUE(std::isnan(PlanInterpreter(GaussianDenoiser).Run(plan, {0.5})[0])) << unset;
  }
  EXPECT_FALSE(std::isnan(PlanInterpreter(GaussianDenoiser).Run(good, {0.5})[0]));
}

}  // namespace
}  // namespace skipstream
