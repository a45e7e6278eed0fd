#include "model/diffusion/one_step_solvers.h"

#include <algorithm>
#include <cmath>

namespace skipstream {
namespace {

SolverStep EulerStep(const StepPoint& from, const StepPoint& to) {
  SolverStep step;
  step.sigma = from.sigma_hat;
  Commit(EulerUpdate(from.sigma_hat, to.sigma), to.noise, step);
  return step;
}

// Leaves `base` alone and moves `eval` to where the slope is wanted next.
SolverStep Probe(const StepPoint& from, double to_sigma) {
  SolverStep step;
  step.sigma = from.sigma_hat;
  step.a[kNextBase][kBase] = 1.0;
  step.a[kNextEval] = EulerUpdate(from.sigma_hat, to_sigma);
  return step;
}

// The probe left x_hat in base and x_hat + (to - from) * d in eval, so its slope d needs no
// separate register; with the slope here d' = (eval - D) / to the trapezoid is
//   base + (eval - base) / 2 + (to - from) / 2 * d'.
SolverStep HeunCorrector(const StepPoint& from, const StepPoint& to) {
  const double half_ratio = from.sigma_hat / (2.0 * to.sigma);
  SolverStep step;
  step.sigma = to.sigma;
  UpdateCoefficients row{};
  row[kBase] = 0.5;
  row[kEval] = 1.0 - half_ratio;
  row[kDenoised] = half_ratio - 0.5;
  Commit(row, to.noise, step);
  return step;
}

// The whole interval with the slope at its middle.
SolverStep MidpointStep(const StepPoint& from, double middle, const StepPoint& to) {
  const double ratio = (to.sigma - from.sigma_hat) / middle;
  SolverStep step;
  step.sigma = middle;
  UpdateCoefficients row{};
  row[kBase] = 1.0;
  row[kEval] = ratio;
  row[kDenoised] = -ratio;
  Commit(row, to.noise, step);
  return step;
}

}  // namespace

std::vector<SolverStep> EulerSteps(const StepPoints& points) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    steps.push_back(EulerStep(points[i], points[i + 1]));
  }
  return steps;
}

std::vector<SolverStep> HeunSteps(const StepPoints& points) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    if (points[i + 1].sigma == 0.0) {  // there is no slope at 0 to correct with
      steps.push_back(EulerStep(points[i], points[i + 1]));
    } else {
      steps.push_back(Probe(points[i], points[i + 1].sigma));
      steps.push_back(HeunCorrector(points[i], points[i + 1]));
    }
  }
  return steps;
}

std::vector<SolverStep> Dpm2Steps(const StepPoints& points) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    if (points[i + 1].sigma == 0.0) {
      steps.push_back(EulerStep(points[i], points[i + 1]));
    } else {
      const double middle = std::sqrt(points[i].sigma_hat) * std::sqrt(points[i + 1].sigma);
      steps.push_back(Probe(points[i], middle));
      steps.push_back(MidpointStep(points[i], middle, points[i + 1]));
    }
  }
  return steps;
}

std::vector<SolverStep> EulerAncestralSteps(const StepPoints& points, const StepNoise& noise) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    const double from = points[i].sigma;
    const double to = points[i + 1].sigma;
    // to^2 (from^2 - to^2) / from^2, without cancellation and overflow.
    const double ratio = to / from;
    const double up = std::min(to, noise.eta * to * std::sqrt((1.0 - ratio) * (1.0 + ratio)));
    const double down = std::sqrt((to - up) * (to + up));
    SolverStep step;
    step.sigma = from;
    Commit(EulerUpdate(from, down), up * noise.s_noise, step);
    steps.push_back(step);
  }
  return steps;
}

std::vector<SolverStep> ConsistencySteps(const StepPoints& points, double sigma_min) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    const double to = points[i + 1].sigma;
    SolverStep step;
    step.sigma = points[i].sigma;
    UpdateCoefficients row{};
    row[kDenoised] = 1.0;
    Commit(row, to > sigma_min ? std::sqrt((to - sigma_min) * (to + sigma_min)) : 0.0, step);
    steps.push_back(step);
  }
  return steps;
}

}  // namespace skipstream
