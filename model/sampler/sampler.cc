#include "model/sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/sampler/one_step_solvers.h"

namespace skipstream {
namespace {

absl::Status ValidateChurn(const Churn& churn) {
  if (!std::isfinite(churn.s_churn) || churn.s_churn < 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("s_churn: must be finite and at least 0; got ", churn.s_churn));
  }
  if (!std::isfinite(churn.s_min) || churn.s_min < 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("s_min: must be finite and at least 0; got ", churn.s_min));
  }
  // Infinity means no limit; negated so that NaN is refused.
  if (!(churn.s_max >= churn.s_min)) {
    return absl::InvalidArgumentError(
        absl::StrCat("s_max: must be at least s_min (", churn.s_min, "); got ", churn.s_max));
  }
  if (!std::isfinite(churn.s_noise) || churn.s_noise <= 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("s_noise: must be finite and above 0; got ", churn.s_noise));
  }
  return absl::OkStatus();
}

std::vector<SolverStep> SolverSteps(Solver solver, const std::vector<ChurnedLevel>& levels) {
  switch (solver) {
    case Solver::kEuler:
      return EulerSteps(levels);
    case Solver::kHeun:
      return HeunSteps(levels);
  }
  return {};
}

bool IsFinite(const SamplingPlan& plan) {
  auto finite = [](double value) { return std::isfinite(value); };
  return finite(plan.initial.latent) && finite(plan.initial.noise) &&
         std::all_of(plan.steps.begin(), plan.steps.end(), [&](const SolverStep& step) {
           return finite(step.sigma) && std::all_of(step.a.begin(), step.a.end(), [&](auto& row) {
                    return std::all_of(row.begin(), row.end(), finite);
                  });
         });
}

}  // namespace

std::string_view SolverName(Solver solver) {
  switch (solver) {
    case Solver::kEuler:
      return "euler";
    case Solver::kHeun:
      return "heun";
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
  static const auto* const solvers = new std::vector<Solver>{Solver::kEuler, Solver::kHeun};
  return *solvers;
}

absl::StatusOr<int> LevelsForNfe(Solver solver, int nfe) {
  if (nfe < 1)
    return absl::InvalidArgumentError(absl::StrCat("nfe: must be at least 1; got ", nfe));
  if (solver == Solver::kEuler) return nfe;
  if (nfe % 2 == 0) {
    return absl::InvalidArgumentError(absl::StrCat("nfe: Heun needs an odd number of evaluations; ",
                                                   nfe, " is not possible, ", nfe - 1, " and ",
                                                   nfe + 1, " are"));
  }
  return nfe / 2 + 1;
}

int NfeForLevels(Solver solver, int n) { return solver == Solver::kEuler ? n : 2 * n - 1; }

absl::StatusOr<SamplingPlan> CompilePlan(const SamplingParams& params) {
  if (absl::Status status = ValidateLevels(params.levels); !status.ok()) return status;
  if (absl::Status status = ValidateChurn(params.churn); !status.ok()) return status;
  absl::StatusOr<std::vector<double>> depth_rho =
      ExpandDepth(params.skip_tuning.depth, params.num_skips);
  if (!depth_rho.ok()) return depth_rho.status();
  const NoiseProfile& noise_profile = params.skip_tuning.noise;
  if (absl::Status status = ValidateNoise(noise_profile); !status.ok()) return status;

  const std::vector<ChurnedLevel> levels = ApplyChurn(params.levels, params.churn);
  SamplingPlan plan;
  plan.initial.latent = levels.front().sigma;
  plan.initial.noise = levels.front().noise;
  plan.steps = SolverSteps(params.solver, levels);
  for (SolverStep& step : plan.steps) {
    const double strength =
        NoiseStrength(noise_profile, step.sigma, params.levels.back(), params.levels.front());
    step.terms.push_back(
        {.conditioning_sigma = step.sigma, .rho = RhoAtStrength(*depth_rho, strength)});
  }
  if (!IsFinite(plan)) {
    return absl::InvalidArgumentError(
        "levels: too large or too far apart for double precision; the usual range is 0.002 to 80");
  }
  return plan;
}

}  // namespace skipstream
