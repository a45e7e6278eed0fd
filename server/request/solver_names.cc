#include "server/request/solver_names.h"

#include "absl/strings/str_cat.h"

namespace skipstream {

v1::Solver ToProto(Solver solver) {
  switch (solver) {
    case Solver::kEuler:
      return v1::SOLVER_EULER;
    case Solver::kHeun:
      return v1::SOLVER_HEUN;
    case Solver::kDpm2:
      return v1::SOLVER_DPM2;
    case Solver::kEulerAncestral:
      return v1::SOLVER_EULER_ANCESTRAL;
    case Solver::kDpmpp2m:
      return v1::SOLVER_DPMPP_2M;
    case Solver::kDpmpp3m:
      return v1::SOLVER_DPMPP_3M;
    case Solver::kDpmpp2mSde:
      return v1::SOLVER_DPMPP_2M_SDE;
    case Solver::kUnipc:
      return v1::SOLVER_UNIPC;
    case Solver::kIpndm:
      return v1::SOLVER_IPNDM;
    case Solver::kConsistency:
      return v1::SOLVER_CONSISTENCY;
  }
  return v1::SOLVER_UNSPECIFIED;
}

std::optional<Solver> FromProto(v1::Solver solver) {
  if (solver == v1::SOLVER_UNSPECIFIED) return Solver::kHeun;
  for (const Solver candidate : AllSolvers()) {
    if (ToProto(candidate) == solver) return candidate;
  }
  return std::nullopt;
}

const std::string& ApiName(Solver solver) { return v1::Solver_Name(ToProto(solver)); }

std::string SolverChoices() {
  std::string choices;
  for (const Solver solver : AllSolvers()) {
    const char* separator = choices.empty() ? "" : solver == AllSolvers().back() ? " or " : ", ";
    absl::StrAppend(&choices, separator, ApiName(solver));
  }
  return choices;
}

}  // namespace skipstream
