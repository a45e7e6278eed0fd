#include "model/diffusion/solver.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace skipstream {

std::string_view SolverName(Solver solver) {
  switch (solver) {
    case Solver::kEuler:
      return "euler";
    case Solver::kHeun:
      return "heun";
    case Solver::kDpm2:
      return "dpm2";
    case Solver::kEulerAncestral:
      return "euler_ancestral";
    case Solver::kDpmpp2m:
      return "dpmpp_2m";
    case Solver::kDpmpp3m:
      return "dpmpp_3m";
    case Solver::kDpmpp2mSde:
      return "dpmpp_2m_sde";
    case Solver::kUnipc:
      return "unipc";
    case Solver::kIpndm:
      return "ipndm";
    case Solver::kConsistency:
      return "consistency";
  }
  return "";
}

std::optional<Solver> SolverFromName(std::string_view name) {
  for (Solver solver : AllSolvers()) {
    if (SolverName(solver) == name) return solver;
  }
  return std::nullopt;
}

const std::vector<Solver>& AllSolvers() {
  static const auto* const solvers = new std::vector<Solver>{
      Solver::kEuler,   Solver::kHeun,       Solver::kDpm2,       Solver::kEulerAncestral,
      Solver::kDpmpp2m, Solver::kDpmpp3m,    Solver::kDpmpp2mSde, Solver::kUnipc,
      Solver::kIpndm,   Solver::kConsistency};
  return *solvers;
}

bool IsTwoCallSolver(Solver solver) { return solver == Solver::kHeun || solver == Solver::kDpm2; }

bool TakesChurn(Solver solver) { return solver == Solver::kEuler || solver == Solver::kHeun; }

bool TakesStepNoise(Solver solver) {
  return solver == Solver::kEulerAncestral || solver == Solver::kDpmpp2mSde;
}

absl::StatusOr<int> LevelsForNfe(Solver solver, FinalLevel final_level, int nfe) {
  if (nfe < 1) {
    return absl::InvalidArgumentError(absl::StrCat("nfe: must be at least 1; got ", nfe));
  }
  if (!IsTwoCallSolver(solver)) return nfe;
  const bool odd = final_level == FinalLevel::kZero;
  if ((nfe % 2 != 0) != odd) {
    return absl::InvalidArgumentError(absl::StrCat(
        "nfe: ", std::string(SolverName(solver)), " needs an ", odd ? "odd" : "even",
        " number of evaluations here; ", nfe, " is not possible, ",
        nfe == 1 ? "" : absl::StrCat(nfe - 1, " and "), nfe + 1, nfe == 1 ? " is" : " are"));
  }
  return (nfe + 1) / 2;
}

int NfeForLevels(Solver solver, FinalLevel final_level, int n) {
  if (!IsTwoCallSolver(solver)) return n;
  return final_level == FinalLevel::kZero ? 2 * n - 1 : 2 * n;
}

}  // namespace skipstream
