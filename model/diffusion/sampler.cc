#include "model/diffusion/sampler.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/diffusion/multistep_solvers.h"
#include "model/diffusion/one_step_solvers.h"
#include "model/diffusion/step_points.h"

namespace skipstream {
namespace {

absl::Status ValidateNoiseScale(absl::string_view name, double s_noise) {
  if (std::isfinite(s_noise) && s_noise > 0.0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": must be finite and above 0; got ", s_noise));
}

absl::Status ValidateChurn(Solver solver, const Churn& churn) {
  if (!std::isfinite(churn.s_churn) || churn.s_churn < 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("s_churn: must be finite and at least 0; got ", churn.s_churn));
  }
  if (churn.s_churn > 0.0 && !TakesChurn(solver)) {
    return absl::InvalidArgumentError(
        absl::StrCat("s_churn: must be 0 for ", std::string(SolverName(solver)),
                     "; only euler and heun churn; got ", churn.s_churn));
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
  return ValidateNoiseScale("s_noise", churn.s_noise);
}

absl::Status ValidateStepNoise(const StepNoise& noise) {
  if (!(noise.eta >= 0.0 && noise.eta <= 1.0)) {
    return absl::InvalidArgumentError(absl::StrCat("eta: must be from 0 to 1; got ", noise.eta));
  }
  return ValidateNoiseScale("s_noise", noise.s_noise);
}

absl::Status ValidateUnipc(const Unipc& unipc) {
  if (unipc.order >= 1 && unipc.order <= 3) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("order: must be 1, 2 or 3; got ", unipc.order));
}

absl::Status ValidateConsistency(const SamplingParams& params) {
  if (params.final_sigma != 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("final_sigma: must be 0 for consistency; got ", params.final_sigma));
  }
  const double sigma_min = params.consistency_sigma_min;
  if (std::isfinite(sigma_min) && sigma_min >= 0.0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("consistency_sigma_min: must be finite and at least 0; got ", sigma_min));
}

absl::Status ValidateLevelsAndEnd(const SamplingParams& params) {
  if (absl::Status status = ValidateLevels(params.levels); !status.ok()) return status;
  if (params.final_sigma >= 0.0 && params.final_sigma < params.levels.back()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("final_sigma: must be 0 or below the last level (",
                                                 params.levels.back(), "); got ",
                                                 params.final_sigma));
}

absl::Status ValidateConditioning(const std::vector<double>& sigmas, size_t evaluations) {
  if (sigmas.empty()) return absl::OkStatus();
  if (sigmas.size() != evaluations) {
    return absl::InvalidArgumentError(absl::StrCat("conditioning_sigmas: must have ", evaluations,
                                                   " values, one per evaluation; got ",
                                                   sigmas.size()));
  }
  for (size_t i = 0; i < sigmas.size(); ++i) {
    if (!std::isfinite(sigmas[i]) || sigmas[i] <= 0.0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "conditioning_sigmas[", i, "]: must be finite and above 0; got ", sigmas[i]));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateGuidance(const Guidance& guidance) {
  if (!std::isfinite(guidance.scale) || guidance.scale < 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("scale: must be finite and at least 0; got ", guidance.scale));
  }
  if (!std::isfinite(guidance.sigma_lo) || guidance.sigma_lo < 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sigma_lo: must be finite and at least 0; got ", guidance.sigma_lo));
  }
  if (!(guidance.sigma_hi >= guidance.sigma_lo)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sigma_hi: must be at least sigma_lo (", guidance.sigma_lo, "); got ", guidance.sigma_hi));
  }
  if (guidance.guide_num_skips && *guidance.guide_num_skips < 1) {
    return absl::InvalidArgumentError("guide_num_skips: must be at least 1");
  }
  return absl::OkStatus();
}

// EDM Algorithm 2, lines 4 to 6, for every level.
StepPoints MakePoints(const SamplingParams& params) {
  const Churn& churn = params.churn;
  const double full_gamma = std::min(churn.s_churn / static_cast<double>(params.levels.size()),
                                     std::numbers::sqrt2 - 1.0);
  StepPoints points;
  points.reserve(params.levels.size() + 1);
  for (const double sigma : params.levels) {
    const bool churned = sigma >= churn.s_min && sigma <= churn.s_max && full_gamma > 0.0;
    double sigma_hat = churned ? sigma * (1.0 + full_gamma) : sigma;
    if (churned && !params.network_levels.empty()) {
      sigma_hat = std::max(sigma, NearestLevel(sigma_hat, params.network_levels));
    }
    // sigma_hat^2 - sigma^2 without the cancellation.
    const double gamma = sigma_hat / sigma - 1.0;
    points.push_back({.sigma = sigma,
                      .sigma_hat = sigma_hat,
                      .noise = sigma * std::sqrt(gamma * (2.0 + gamma)) * churn.s_noise});
  }
  points.push_back({.sigma = params.final_sigma, .sigma_hat = params.final_sigma});
  return points;
}

std::vector<SolverStep> SolverSteps(const SamplingParams& params, const StepPoints& points) {
  switch (params.solver) {
    case Solver::kEuler:
      return EulerSteps(points);
    case Solver::kHeun:
      return HeunSteps(points);
    case Solver::kDpm2:
      return Dpm2Steps(points);
    case Solver::kEulerAncestral:
      return EulerAncestralSteps(points, params.step_noise);
    case Solver::kDpmpp2m:
      return DpmppSteps(points, 2);
    case Solver::kDpmpp3m:
      return DpmppSteps(points, 3, params.dpmpp_3m_halved_curvature);
    case Solver::kDpmpp2mSde:
      return Dpmpp2mSdeSteps(points, params.step_noise);
    case Solver::kUnipc:
      return UnipcSteps(points, params.unipc);
    case Solver::kIpndm:
      return IpndmSteps(points);
    case Solver::kConsistency:
      return ConsistencySteps(points, params.consistency_sigma_min);
  }
  return {};
}

// Returns the denoiser terms of one step: one, or two where guidance applies.
std::vector<DenoiserTerm> Terms(const SamplingParams& params, double sigma,
                                double conditioning_sigma, std::vector<float> rho) {
  const Guidance& guidance = params.guidance;
  DenoiserTerm term = {.conditioning_sigma = conditioning_sigma,
                       .coefficients = params.parametrization.At(sigma, conditioning_sigma),
                       .rho = std::move(rho)};
  if (guidance.scale == 1.0 || sigma < guidance.sigma_lo || sigma > guidance.sigma_hi) {
    return {std::move(term)};
  }
  term.weight = guidance.scale;
  DenoiserTerm other = term;
  other.weight = 1.0 - guidance.scale;
  if (guidance.guide_num_skips) {
    other.network = 1;
    other.coefficients = guidance.guide_parametrization.At(sigma, conditioning_sigma);
    other.rho.assign(*guidance.guide_num_skips, 1.0f);
  } else {
    other.conditional = false;
  }
  return {std::move(term), std::move(other)};
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

// Networks give outputs that are exact to about 1e-4 of an image's range. A step that weighs them
// by more than this, with either sign, shows that as noise.
constexpr double kMaxWeight = 300.0;
// Levels within 5 % of each other are close. A long last step weighs outputs at levels further
// apart more, which is the solver's extrapolation, not noise.
constexpr double kCloseRatio = 0.95;

// Solvers that divide by the distance of levels.
bool TakesDifferences(Solver solver) {
  return solver == Solver::kDpmpp2m || solver == Solver::kDpmpp3m ||
         solver == Solver::kDpmpp2mSde || solver == Solver::kUnipc;
}

// Factor by which the step magnifies errors of the network's outputs; NaN or infinite where
// levels hardly differ.
double WeightOfOutputs(const SolverStep& step) {
  double largest = 0.0;
  for (const UpdateRow row : {kNextBase, kNextEval}) {
    double weight = 0.0;
    for (const Register output : {kDenoised, kH1, kH2, kH3})
      weight += std::abs(step.a[row][output]);
    if (std::isnan(weight)) return weight;
    largest = std::max(largest, weight);
  }
  return largest;
}

// Returns `value` with just enough digits to distinguish it from its neighbours.
std::string Exactly(double value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  return std::string(digits.data(), end.ptr);
}

// `steps` has one step per level, as those of all solvers that take differences.
absl::Status ValidateDistances(const SamplingParams& params, const StepPoints& points,
                               const std::vector<SolverStep>& steps) {
  if (!TakesDifferences(params.solver)) return absl::OkStatus();
  for (size_t i = 0; i < steps.size(); ++i) {
    if (WeightOfOutputs(steps[i]) <= kMaxWeight) continue;
    const auto ratio = [&](size_t at) { return points[at + 1].sigma / points[at].sigma; };
    size_t closest = i > 2 ? i - 3 : 0;  // no solver looks further back
    for (size_t at = closest + 1; at <= i; ++at) {
      if (ratio(at) > ratio(closest)) closest = at;
    }
    if (ratio(closest) < kCloseRatio) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "the levels ", Exactly(points[closest].sigma), " and ", Exactly(points[closest + 1].sigma),
        " are too close, beside the steps around them, for ",
        std::string(SolverName(params.solver)),
        ", which divides by their distance: its results would be noise; move them apart or take "
        "euler, heun, dpm2 or ipndm"));
  }
  return absl::OkStatus();
}

absl::Status Validate(const SamplingParams& params) {
  if (absl::Status status = ValidateLevelsAndEnd(params); !status.ok()) return status;
  if (absl::Status status = ValidateChurn(params.solver, params.churn); !status.ok()) return status;
  if (TakesStepNoise(params.solver)) {
    absl::Status status = ValidateStepNoise(params.step_noise);
    if (!status.ok()) return status;
  }
  if (params.solver == Solver::kUnipc) {
    if (absl::Status status = ValidateUnipc(params.unipc); !status.ok()) return status;
  }
  if (params.solver == Solver::kConsistency) {
    if (absl::Status status = ValidateConsistency(params); !status.ok()) return status;
  }
  if (absl::Status status = ValidateGuidance(params.guidance); !status.ok()) return status;
  return ValidateNoise(params.skip_tuning.noise);
}

}  // namespace

absl::StatusOr<SamplingPlan> CompilePlan(const SamplingParams& params) {
  if (absl::Status status = Validate(params); !status.ok()) return status;
  absl::StatusOr<std::vector<double>> depth_rho =
      ExpandDepth(params.skip_tuning.depth, params.num_skips);
  if (!depth_rho.ok()) return depth_rho.status();

  const StepPoints points = MakePoints(params);
  SamplingPlan plan;
  plan.initial.image = params.starts_from_image ? 1.0 : 0.0;
  plan.initial.latent = points.front().sigma;
  plan.initial.noise = points.front().noise;
  plan.steps = SolverSteps(params, points);
  if (absl::Status status = ValidateDistances(params, points, plan.steps); !status.ok()) {
    return status;
  }
  if (absl::Status status = ValidateConditioning(params.conditioning_sigmas, plan.steps.size());
      !status.ok()) {
    return status;
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    SolverStep& step = plan.steps[i];
    const double lowest = params.final_sigma > 0.0 ? params.final_sigma : params.levels.back();
    const double strength =
        NoiseStrength(params.skip_tuning.noise, step.sigma, lowest, params.levels.front());
    const double conditioning_sigma =
        params.conditioning_sigmas.empty() ? step.sigma : params.conditioning_sigmas[i];
    step.terms = Terms(params, step.sigma, conditioning_sigma, RhoAtStrength(*depth_rho, strength));
  }
  if (!IsFinite(plan)) {
    return absl::InvalidArgumentError(
        "levels: too large or too far apart for double precision; the usual range is 0.002 to 80");
  }
  return plan;
}

}  // namespace skipstream
