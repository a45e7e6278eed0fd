// Compiles solvers that use denoised images of earlier noise levels. In terms of lambda = -log
// sigma (alpha = 1), with h the length of a step, each is an exponential integrator. It integrates
// the linear part exactly and fits a polynomial to D, or (iPNDM) to the slope. All start with order
// 1 and gain one order a step; a last step to 0 is D. Internal to model/diffusion.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_MULTISTEP_SOLVERS_H_
#define SKIPSTREAM_MODEL_DIFFUSION_MULTISTEP_SOLVERS_H_

#include <vector>

#include "model/diffusion/sampler.h"
#include "model/diffusion/step_points.h"

namespace skipstream {

// Compiles DPM-Solver++ (arXiv 2211.01095), multistep: order 2 (Algorithm 2) or 3. In schedules of
// fewer than 15 levels that end at 0, the last step but one has order 2 at most.
// `halved_curvature`: see SamplingParams.
std::vector<SolverStep> DpmppSteps(const StepPoints& points, int order,
                                   bool halved_curvature = false);

// Compiles SDE-DPM-Solver++(2M) (arXiv 2211.01095, Eq. 14 and its appendix), with eta as a factor
// of the noise: 1 is the paper's, 0 is dpmpp_2m.
std::vector<SolverStep> Dpmpp2mSdeSteps(const StepPoints& points, const StepNoise& noise);

// Compiles UniPC (arXiv 2302.04867, Algorithms 5 to 8), data prediction. The corrector of a level
// reuses the evaluation there, so it is part of the next step. Towards 0 the order falls: a step
// with m levels left has order m at most.
std::vector<SolverStep> UnipcSteps(const StepPoints& points, const Unipc& unipc);

// Compiles iPNDM (arXiv 2204.13902): Adams-Bashforth of order 4 with its coefficients for equal
// steps.
std::vector<SolverStep> IpndmSteps(const StepPoints& points);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_MULTISTEP_SOLVERS_H_
