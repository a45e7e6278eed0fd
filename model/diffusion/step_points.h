// Defines the points of the schedule that every solver compiles from. Internal to model/diffusion.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_STEP_POINTS_H_
#define SKIPSTREAM_MODEL_DIFFUSION_STEP_POINTS_H_

#include <vector>

#include "model/diffusion/solver_step.h"

namespace skipstream {

// Holds a noise level of the schedule, and the level to which churn lifts a sample that arrives
// there.
struct StepPoint {
  double sigma = 0.0;      // the level
  double sigma_hat = 0.0;  // the noise level after churn; sigma without churn
  double noise = 0.0;      // standard deviation of the noise that churn adds; 0 without churn
};

// Holds n points where a step starts, and the one where the last step ends: 0 or a positive level,
// never churned.
using StepPoints = std::vector<StepPoint>;

using UpdateCoefficients = std::array<double, kNumRegisters>;

// Sets base' = eval' = `row` plus fresh noise of standard deviation `noise`.
inline void Commit(const UpdateCoefficients& row, double noise, SolverStep& step) {
  step.a[kNextBase] = row;
  step.a[kNextBase][kNoise] = noise;
  step.a[kNextEval] = step.a[kNextBase];
  step.uses_noise = noise != 0.0;
}

// Returns eval + (to - from) * (eval - D) / from, with the terms collected: at to = 0 this is
// exactly D.
inline UpdateCoefficients EulerUpdate(double from, double to) {
  UpdateCoefficients row{};
  row[kEval] = to / from;
  row[kDenoised] = 1.0 - to / from;
  return row;
}

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_STEP_POINTS_H_
