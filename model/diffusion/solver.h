// The solvers there are, by name, and what they cost.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_SOLVER_H_
#define SKIPSTREAM_MODEL_DIFFUSION_SOLVER_H_

#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstream {

enum class Solver {
  kEuler,           // = DDIM (arXiv 2010.02502)
  kHeun,            // EDM (arXiv 2206.00364), Algorithms 1 and 2
  kDpm2,            // DPM-Solver-2 (arXiv 2206.00927): the midpoint in log sigma
  kEulerAncestral,  // DDIM with eta > 0 (arXiv 2010.02502, Eq. 16)
  kDpmpp2m,         // DPM-Solver++(2M) (arXiv 2211.01095)
  kDpmpp3m,         // DPM-Solver++(3M)
  kDpmpp2mSde,      // SDE-DPM-Solver++(2M)
  kUnipc,           // UniPC (arXiv 2302.04867)
  kIpndm,           // iPNDM (arXiv 2204.13902)
  kConsistency,     // multistep consistency sampling (arXiv 2303.01469, Algorithm 1)
};

// Lower-case names as used in flags, metrics and model files: "euler", "dpmpp_2m_sde", ...
std::string_view SolverName(Solver solver);
std::optional<Solver> SolverFromName(std::string_view name);
const std::vector<Solver>& AllSolvers();

// Two-call solvers evaluate twice an interval: at both ends (heun) or at the start and inside
// (dpm2).
bool IsTwoCallSolver(Solver solver);
// Solvers that EDM's churn applies to: euler and heun.
bool TakesChurn(Solver solver);
// Solvers with an `eta`: euler_ancestral and dpmpp_2m_sde.
bool TakesStepNoise(Solver solver);

// Where the last step of a sampler ends: at 0, which is the solver's Euler step D, or at a positive
// level, reached like every other one.
enum class FinalLevel { kZero, kPositive };

// The number of levels at which steps start when `nfe` evaluations of `solver` are spent. One-call
// solvers: nfe. Two-call solvers: (nfe + 1) / 2 when the last interval ends at 0, where it needs
// one evaluation, else nfe / 2. InvalidArgument says which NFE would be valid (the message offers
// the two neighbours).
absl::StatusOr<int> LevelsForNfe(Solver solver, FinalLevel final_level, int nfe);
// The inverse: evaluations spent on n >= 1 such levels.
int NfeForLevels(Solver solver, FinalLevel final_level, int n);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SOLVER_H_
