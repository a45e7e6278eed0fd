// A sampler is a compiler, not a loop: it turns SamplingParams into a SamplingPlan and never sees a
// tensor. Since a plan depends on nothing the network returns, every future row is known in
// advance.
#ifndef SKIPSTREAM_MODEL_SAMPLER_SAMPLER_H_
#define SKIPSTREAM_MODEL_SAMPLER_SAMPLER_H_

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/sampler/sigma_schedule.h"
#include "model/sampler/skip_tuning.h"
#include "model/sampler/solver_step.h"

namespace skipstream {

enum class Solver { kEuler, kHeun };

// Lower-case names as used in flags, metrics and model files: "euler", "heun".
std::string_view SolverName(Solver solver);
std::optional<Solver> SolverFromName(std::string_view name);
const std::vector<Solver>& AllSolvers();

// EDM Algorithm 2. s_churn = 0 is deterministic.
struct Churn {
  double s_churn = 0.0;  // >= 0; spread over the levels
  double s_min = 0.0;    // churn only where s_min <= sigma <= s_max
  double s_max = std::numeric_limits<double>::infinity();
  double s_noise = 1.0;  // standard deviation of the fresh noise, > 0
};

// The number of levels that `nfe` evaluations of `solver` use (Euler: nfe; Heun: (nfe + 1) / 2, its
// last interval is an Euler step). InvalidArgument says which NFE would be valid (Heun needs an odd
// one: the message offers the two neighbours).
absl::StatusOr<int> LevelsForNfe(Solver solver, int nfe);
// The inverse: evaluations spent on n >= 1 levels.
int NfeForLevels(Solver solver, int n);

struct SamplingParams {
  Solver solver = Solver::kHeun;
  SigmaLevels levels;
  Churn churn;  // Heun and Euler
  SkipTuning skip_tuning;
  int num_skips = 0;  // K of the network
};

// InvalidArgument for anything outside the documented ranges; the message begins with the name of
// the offending parameter.
absl::StatusOr<SamplingPlan> CompilePlan(const SamplingParams& params);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_SAMPLER_SAMPLER_H_
