// Lists the solvers by name, with the evaluations that they spend.
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

// Convert lower-case names as used in flags, metrics and model files ("euler", "dpmpp_2m_sde",
// ...); SolverFromName() returns nothing for an unknown name.
std::string_view SolverName(Solver solver);
std::optional<Solver> SolverFromName(std::string_view name);
const std::vector<Solver>& AllSolvers();

// Returns true for solvers that evaluate twice an interval: at both ends (heun) or at the start and
// inside (dpm2).
bool IsTwoCallSolver(Solver solver);
// Returns true for solvers that EDM's churn applies to: euler and heun.
bool TakesChurn(Solver solver);
// Returns true for solvers with an `eta`: euler_ancestral and dpmpp_2m_sde.
bool TakesStepNoise(Solver solver);

// Says whether the last step of a sampler ends at 0, which is the solver's Euler step D, or at a
// positive noise level, reached like every other one.
enum class FinalLevel { kZero, kPositive };

// Returns the number of noise levels at which steps start when `nfe` evaluations of `solver` are
// spent. It is nfe for solvers with one evaluation an interval. For the others it is (nfe + 1) / 2
// when the last interval ends at 0, where it needs one evaluation, else nfe / 2. InvalidArgument
// says which NFE would be valid (the message offers the two neighbours).
absl::StatusOr<int> LevelsForNfe(Solver solver, FinalLevel final_level, int nfe);
// Returns the inverse: the evaluations spent on n >= 1 such levels.
int NfeForLevels(Solver solver, FinalLevel final_level, int n);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SOLVER_H_
