// Compiles SamplingParams into a SamplingPlan and never sees a tensor. Since a plan depends on
// nothing the network returns, every future row is known in advance.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_SAMPLER_H_
#define SKIPSTREAM_MODEL_DIFFUSION_SAMPLER_H_

#include <limits>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "model/diffusion/preconditioning.h"
#include "model/diffusion/sigma_schedule.h"
#include "model/diffusion/skip_tuning.h"
#include "model/diffusion/solver.h"
#include "model/diffusion/solver_step.h"

namespace skipstream {

// Holds the parameters of EDM Algorithm 2. s_churn = 0 is deterministic.
struct Churn {
  double s_churn = 0.0;  // >= 0; spread over the levels
  double s_min = 0.0;    // churn only where s_min <= sigma <= s_max
  double s_max = std::numeric_limits<double>::infinity();
  double s_noise = 1.0;  // standard deviation of the fresh noise, > 0
};

// Holds the parameters of the fresh noise of euler_ancestral and dpmpp_2m_sde.
struct StepNoise {
  double eta = 1.0;      // 0 to 1; 0 is deterministic
  double s_noise = 1.0;  // standard deviation of the fresh noise, > 0
};

// Selects B(h) of the UniPC paper: bh1 is h, bh2 is e^h - 1.
enum class UnipcVariant { kBh1, kBh2 };

struct Unipc {
  int order = 2;  // 1 to 3
  UnipcVariant variant = UnipcVariant::kBh2;
  bool corrector = true;  // raises the order of accuracy by one at no evaluation
};

// Guides D away from a second one: D = scale * D(x | class) + (1 - scale) * D_other(x). D_other is
// the same network without the class (classifier-free guidance, arXiv 2207.12598) or a second
// network with it (autoguidance, arXiv 2406.02507). Guidance applies only at noise levels inside
// [sigma_lo, sigma_hi] (arXiv 2404.07724). Elsewhere, and with scale 1, a step has one term.
struct Guidance {
  double scale = 1.0;  // finite, >= 0
  double sigma_lo = 0.0;
  double sigma_hi = std::numeric_limits<double>::infinity();
  // Autoguidance: K of the second network, which is not skip-tuned. Empty: no second network.
  std::optional<int> guide_num_skips = std::nullopt;
  Preconditioning guide_parametrization = {};  // of the second network
};

struct SamplingParams {
  Solver solver = Solver::kHeun;
  // Noise levels at which steps start.
  SigmaLevels levels;
  double final_sigma = 0.0;
  // The only levels the network knows, descending; empty: any. Levels lifted by churn are rounded
  // to them.
  std::vector<double> network_levels;
  // Noise levels the network is given, one per evaluation, in the place of the true ones
  // (timestep-aligned sampling); empty: the true ones.
  std::vector<double> conditioning_sigmas;

  Churn churn;           // euler and heun
  StepNoise step_noise;  // euler_ancestral and dpmpp_2m_sde
  Unipc unipc;           // unipc
  // dpmpp_3m: weighs the second derivative of D by half of what the Taylor expansion says, as the
  // code published with the paper and its copies do. The order is 2 then, not 3.
  bool dpmpp_3m_halved_curvature = false;
  // consistency: the noise level at which the model's function is the identity; a step to a level
  // at or below it adds no noise.
  double consistency_sigma_min = 0.002;

  // The sample starts from an init image plus noise of the first level, not from noise alone.
  bool starts_from_image = false;

  SkipTuning skip_tuning;
  int num_skips = 0;  // K of the network
  Preconditioning parametrization;
  Guidance guidance;
};

// Compiles the plan. InvalidArgument for anything outside the documented ranges; the message begins
// with the name of the offending parameter.
absl::StatusOr<SamplingPlan> CompilePlan(const SamplingParams& params);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SAMPLER_H_
