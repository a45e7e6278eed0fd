// Whole plans on data that is Gaussian, where the ideal denoiser and the exact solution of the
// probability flow are known in closed form.
#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/sampler/sampler.h"
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

// Where dx/dsigma = (x - D(x; sigma)) / sigma takes x from `sigma` to 0.
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
  for (Solver solver : AllSolvers()) {
    for (const Churn& churn : churns) {
      for (int n : {1, 2, 5, 18, 40}) {
        const SigmaLevels levels = *KarrasLevels(n, 0.002, 80.0, 7.0);
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

// Largest error against the exact solution over a few samples.
double ErrorWithLevels(Solver solver, int n) {
  const std::vector<double> latents = {-1.5, -0.4, 0.2, 1.0, 2.0};
  // So low a sigma_min that the last step to 0 does not show.
  const SigmaLevels levels = *KarrasLevels(n, 1e-5, 10.0, 7.0);
  PlanInterpreter interpreter(GaussianDenoiser);
  const std::vector<double> samples = interpreter.Run(Compiled(solver, levels), latents);
  double error = 0.0;
  for (size_t i = 0; i < latents.size(); ++i) {
    error = std::max(error, std::abs(samples[i] - ExactSolution(10.0 * latents[i], 10.0)));
  }
  return error;
}

void ExpectOrder(Solver solver, double order) {
  for (int n : {64, 128, 256}) {
    const double slope = std::log2(ErrorWithLevels(solver, n) / ErrorWithLevels(solver, 2 * n));
    EXPECT_NEAR(slope, order, 0.2) << "from " << n << " to " << 2 * n << " levels";
  }
}

TEST(TrajectoryTest, EulerConvergesWithOrderOne) { ExpectOrder(Solver::kEuler, 1.0); }
TEST(TrajectoryTest, HeunConvergesWithOrderTwo) { ExpectOrder(Solver::kHeun, 2.0); }

TEST(TrajectoryTest, ChurnKeepsTheDistributionOfTheData) {
  constexpr int kSamples = 20000;
  const SigmaLevels levels = *KarrasLevels(128, 0.002, 80.0, 7.0);
  const Churn churn = {.s_churn = 30.0};
  PlanInterpreter interpreter(GaussianDenoiser, Normals(11));
  const std::vector<double> samples =
      interpreter.Run(Compiled(Solver::kHeun, levels, churn), Latents(kSamples, 5));
  double mean = 0.0;
  for (double sample : samples) mean += sample / kSamples;
  double variance = 0.0;
  for (double sample : samples) variance += (sample - mean) * (sample - mean) / (kSamples - 1);
  const double true_variance = kStddev * kStddev;
  EXPECT_NEAR(mean, kMean, 4.0 * kStddev / std::sqrt(kSamples));
  EXPECT_NEAR(variance, true_variance, 4.0 * true_variance * std::sqrt(2.0 / kSamples));
}

TEST(TrajectoryTest, ChurnMakesASampleDependOnItsNoise) {
  const SigmaLevels levels = *KarrasLevels(18, 0.002, 80.0, 7.0);
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
