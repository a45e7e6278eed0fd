// Compiles solvers that keep no history. Each returns the steps between the points, still without
// denoiser terms. The initial update must have churned the first point already; the churn of every
// other point is part of the step before it. Internal to model/diffusion.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_ONE_STEP_SOLVERS_H_
#define SKIPSTREAM_MODEL_DIFFUSION_ONE_STEP_SOLVERS_H_

#include <vector>

#include "model/diffusion/sampler.h"
#include "model/diffusion/step_points.h"

namespace skipstream {

// Compile EDM (arXiv 2206.00364) Algorithms 1 and 2.
std::vector<SolverStep> EulerSteps(const StepPoints& points);
std::vector<SolverStep> HeunSteps(const StepPoints& points);

// Compiles DPM-Solver-2 (arXiv 2206.00927, Algorithm 1 with r = 1/2; alpha = 1): a step takes the
// slope at the geometric mean of both ends. The interval to 0 is an Euler step.
std::vector<SolverStep> Dpm2Steps(const StepPoints& points);

// Compiles DDIM with fresh noise (arXiv 2010.02502, Eq. 16, for alpha = 1): Euler to sigma_down,
// then noise up to the next level.
std::vector<SolverStep> EulerAncestralSteps(const StepPoints& points, const StepNoise& noise);

// Compiles multistep consistency sampling (arXiv 2303.01469, Algorithm 1): D, then fresh noise of
// standard deviation sqrt(sigma^2 - sigma_min^2).
std::vector<SolverStep> ConsistencySteps(const StepPoints& points, double sigma_min);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_ONE_STEP_SOLVERS_H_
