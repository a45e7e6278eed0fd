// Euler's and Heun's method: solvers that keep no history (EDM, arXiv 2206.00364, Algorithms 1 and
// 2). Internal to model/sampler.
#ifndef SKIPSTREAM_MODEL_SAMPLER_ONE_STEP_SOLVERS_H_
#define SKIPSTREAM_MODEL_SAMPLER_ONE_STEP_SOLVERS_H_

#include <vector>

#include "model/sampler/sampler.h"
#include "model/sampler/sigma_schedule.h"
#include "model/sampler/solver_step.h"

namespace skipstream {

// A level of the schedule and where churn lifts a sample that arrives there.
struct ChurnedLevel {
  double sigma = 0.0;      // the level
  double sigma_hat = 0.0;  // the noise level after churn; sigma without churn
  double noise = 0.0;      // standard deviation of what churn adds; 0 without churn
};

// Algorithm 2, lines 4 to 6, for every level.
std::vector<ChurnedLevel> ApplyChurn(const SigmaLevels& levels, const Churn& churn);

// The steps from the first level to 0, still without denoiser terms. The initial update must have
// churned the first level already; the churn of every other level is part of the step before it.
std::vector<SolverStep> EulerSteps(const std::vector<ChurnedLevel>& levels);
std::vector<SolverStep> HeunSteps(const std::vector<ChurnedLevel>& levels);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_SAMPLER_ONE_STEP_SOLVERS_H_
