#include "model/sampler/one_step_solvers.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace skipstream {
namespace {

// Where a step arrives: the next level, or 0 after the last one.
ChurnedLevel NextLevel(const std::vector<ChurnedLevel>& levels, size_t i) {
  return i + 1 < levels.size() ? levels[i + 1] : ChurnedLevel{};
}

// eval + (to - from) * (eval - D) / from, with the terms collected: at to = 0 this is exactly D.
void SetEuler(double from, double to, std::array<double, kNumRegisters>& row) {
  row[kEval] = to / from;
  row[kDenoised] = 1.0 - to / from;
}

// Makes the step commit its result: base' = eval' = the base row, churned for the level it reaches.
void Commit(double noise, SolverStep& step) {
  step.a[kNextBase][kNoise] = noise;
  step.a[kNextEval] = step.a[kNextBase];
  step.uses_noise = noise != 0.0;
}

SolverStep EulerStep(const ChurnedLevel& level, const ChurnedLevel& next) {
  SolverStep step;
  step.sigma = level.sigma_hat;
  SetEuler(level.sigma_hat, next.sigma, step.a[kNextBase]);
  Commit(next.noise, step);
  return step;
}

SolverStep HeunPredictor(const ChurnedLevel& level, const ChurnedLevel& next) {
  SolverStep step;
  step.sigma = level.sigma_hat;
  step.a[kNextBase][kBase] = 1.0;
  SetEuler(level.sigma_hat, next.sigma, step.a[kNextEval]);
  return step;
}

// The predictor left x_hat in base and x_hat + (to - from) * d in eval, so its slope d needs no
// register of its own; with the slope here d' = (eval - D) / to the trapezoid is
//   base + (eval - base) / 2 + (to - from) / 2 * d'.
SolverStep HeunCorrector(const ChurnedLevel& level, const ChurnedLevel& next) {
  const double half_ratio = level.sigma_hat / (2.0 * next.sigma);
  SolverStep step;
  step.sigma = next.sigma;
  step.a[kNextBase][kBase] = 0.5;
  step.a[kNextBase][kEval] = 1.0 - half_ratio;
  step.a[kNextBase][kDenoised] = half_ratio - 0.5;
  Commit(next.noise, step);
  return step;
}

}  // namespace

std::vector<ChurnedLevel> ApplyChurn(const SigmaLevels& levels, const Churn& churn) {
  const double full_gamma =
      std::min(churn.s_churn / static_cast<double>(levels.size()), std::numbers::sqrt2 - 1.0);
  std::vector<ChurnedLevel> churned;
  churned.reserve(levels.size());
  for (double sigma : levels) {
    const double gamma = sigma >= churn.s_min && sigma <= churn.s_max ? full_gamma : 0.0;
    // sigma_hat^2 - sigma^2 = sigma^2 * gamma * (2 + gamma), without the cancellation.
    churned.push_back({.sigma = sigma,
                       .sigma_hat = sigma * (1.0 + gamma),
                       .noise = sigma * std::sqrt(gamma * (2.0 + gamma)) * churn.s_noise});
  }
  return churned;
}

std::vector<SolverStep> EulerSteps(const std::vector<ChurnedLevel>& levels) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i < levels.size(); ++i) {
    steps.push_back(EulerStep(levels[i], NextLevel(levels, i)));
  }
  return steps;
}

std::vector<SolverStep> HeunSteps(const std::vector<ChurnedLevel>& levels) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < levels.size(); ++i) {
    steps.push_back(HeunPredictor(levels[i], levels[i + 1]));
    steps.push_back(HeunCorrector(levels[i], levels[i + 1]));
  }
  // There is no slope at 0 to correct with.
  steps.push_back(EulerStep(levels.back(), ChurnedLevel{}));
  return steps;
}

}  // namespace skipstream
