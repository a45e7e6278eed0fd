#include "server/transport/sampler_resolver.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

constexpr int kDefaultNfe = 19;
constexpr double kDefaultSigmaMin = 0.002;
constexpr double kDefaultSigmaMax = 80.0;
constexpr double kLargestSigma = 1e6;
constexpr double kDefaultExponent = 7.0;
constexpr double kMaxExponent = 100.0;
constexpr double kMaxChurn = 1000.0;
constexpr double kMaxChurnNoise = 2.0;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::optional<Solver> ResolveSolver(v1::Solver solver, Violations& violations) {
  switch (solver) {
    case v1::SOLVER_EULER:
      return Solver::kEuler;
    case v1::SOLVER_UNSPECIFIED:
    case v1::SOLVER_HEUN:
      return Solver::kHeun;
    default:
      violations.Add("sampler.solver", absl::StrCat("must be SOLVER_EULER or SOLVER_HEUN, got ",
                                                    static_cast<int>(solver)));
      return std::nullopt;
  }
}

bool CheckNfe(Solver solver, int nfe, int max_nfe, Violations& violations) {
  if (!violations.CheckRange("sampler.nfe", int64_t{nfe}, 1, max_nfe)) return false;
  if (LevelsForNfe(solver, nfe).ok()) return true;
  const std::string neighbours =
      nfe < max_nfe ? absl::StrCat(nfe - 1, " or ", nfe + 1) : absl::StrCat(nfe - 1);
  violations.Add("sampler.nfe",
                 absl::StrCat("must be odd for SOLVER_HEUN: use ", neighbours, ", got ", nfe));
  return false;
}

bool CheckSigma(const std::string& field, double sigma, const SigmaRange& range,
                Violations& violations) {
  return violations.CheckRange(field, sigma, range.min, range.max, /*above_min=*/range.min == 0.0,
                               " for this model");
}

std::optional<SigmaLevels> ExplicitLevels(const v1::Sampler& sampler, std::optional<Solver> solver,
                                          const SigmaRange& range, const RequestLimits& limits,
                                          Violations& violations) {
  const std::string field = "sampler.explicit_levels.sigmas";
  bool valid = true;
  for (const auto& [set, name] : {std::pair(sampler.has_sigma_min(), "sampler.sigma_min"),
                                  std::pair(sampler.has_sigma_max(), "sampler.sigma_max")}) {
    if (!set) continue;
    violations.Add(name, "must not be set together with explicit_levels");
    valid = false;
  }

  const auto& sigmas = sampler.explicit_levels().sigmas();
  // n levels cost Heun 2n - 1 evaluations.
  const int max_levels = solver == Solver::kEuler ? limits.max_nfe : (limits.max_nfe + 1) / 2;
  if (sigmas.empty() || sigmas.size() > max_levels) {
    violations.Add(field, absl::StrCat("must have between 1 and ", max_levels, " values, got ",
                                       sigmas.size()));
    return std::nullopt;
  }
  for (int i = 0; i < sigmas.size(); ++i) {
    const std::string element = absl::StrCat(field, "[", i, "]");
    if (!CheckSigma(element, sigmas[i], range, violations)) {
      valid = false;
    } else if (i > 0 && sigmas[i] >= sigmas[i - 1]) {
      violations.Add(element, absl::StrCat("must be below the value before it (", sigmas[i - 1],
                                           "), got ", sigmas[i]));
      valid = false;
    }
  }
  if (valid && solver && sampler.has_nfe()) {
    const int needed = NfeForLevels(*solver, sigmas.size());
    if (sampler.nfe() != needed) {
      violations.Add("sampler.nfe",
                     absl::StrCat("must be ", needed, ", what ", sigmas.size(),
                                  " explicit levels need, or left out; got ", sampler.nfe()));
      valid = false;
    }
  }
  if (!valid) return std::nullopt;
  return SigmaLevels(sigmas.begin(), sigmas.end());
}

std::optional<SigmaLevels> LevelsFromKarras(const v1::Sampler& sampler,
                                            std::optional<Solver> solver, const SigmaRange& range,
                                            const RequestLimits& limits, Violations& violations) {
  const double sigma_min =
      sampler.has_sigma_min() ? sampler.sigma_min() : std::max(kDefaultSigmaMin, range.min);
  const double sigma_max =
      sampler.has_sigma_max() ? sampler.sigma_max() : std::min(kDefaultSigmaMax, range.max);
  const double exponent = sampler.karras().has_schedule_exponent()
                              ? sampler.karras().schedule_exponent()
                              : kDefaultExponent;

  const bool min_valid = CheckSigma("sampler.sigma_min", sigma_min, range, violations);
  const bool max_valid = CheckSigma("sampler.sigma_max", sigma_max, range, violations);
  bool valid = min_valid && max_valid;
  if (valid && sigma_max <= sigma_min) {
    violations.Add(sampler.has_sigma_max() ? "sampler.sigma_max" : "sampler.sigma_min",
                   absl::StrCat("sigma_max must be above sigma_min, got sigma_min ", sigma_min,
                                sampler.has_sigma_min() ? "" : " (the default)", " and sigma_max ",
                                sigma_max, sampler.has_sigma_max() ? "" : " (the default)"));
    valid = false;
  }
  valid &= violations.CheckRange("sampler.karras.schedule_exponent", exponent, 1.0, kMaxExponent);
  if (!solver) return std::nullopt;
  const int nfe = sampler.has_nfe() ? sampler.nfe() : kDefaultNfe;
  if (!CheckNfe(*solver, nfe, limits.max_nfe, violations) || !valid) return std::nullopt;

  const int num_levels = LevelsForNfe(*solver, nfe).value();
  absl::StatusOr<SigmaLevels> levels = KarrasLevels(num_levels, sigma_min, sigma_max, exponent);
  if (!levels.ok()) {
    violations.Add("sampler.sigma_max", absl::StrCat("is too close to sigma_min for ", num_levels,
                                                     " levels, got sigma_min ", sigma_min,
                                                     " and sigma_max ", sigma_max));
    return std::nullopt;
  }
  return *std::move(levels);
}

std::optional<Churn> ResolveChurn(const v1::Churn& churn, Violations& violations) {
  const Churn resolved = {
      .s_churn = churn.s_churn(),
      .s_min = churn.s_min(),
      .s_max = churn.has_s_max() ? churn.s_max() : kInfinity,
      .s_noise = churn.has_s_noise() ? churn.s_noise() : 1.0,
  };
  bool valid = violations.CheckRange("sampler.churn.s_churn", resolved.s_churn, 0.0, kMaxChurn);
  valid &= violations.CheckRange("sampler.churn.s_noise", resolved.s_noise, 0.0, kMaxChurnNoise,
                                 /*above_min=*/true);
  if (!violations.CheckRange("sampler.churn.s_min", resolved.s_min, 0.0, kInfinity)) {
    return std::nullopt;
  }
  if (churn.has_s_max()) {
    valid &= violations.CheckRange("sampler.churn.s_max", resolved.s_max, resolved.s_min, kInfinity,
                                   /*above_min=*/false, " (s_min)");
  }
  if (!valid) return std::nullopt;
  return resolved;
}

}  // namespace

SigmaRange AllowedSigmas(const NetworkInfo& model) {
  return {.min = model.sigma_min, .max = std::min(model.sigma_max, kLargestSigma)};
}

std::optional<ResolvedSampler> ResolveSampler(const v1::Sampler& sampler, const NetworkInfo& model,
                                              const RequestLimits& limits, Violations& violations) {
  const SigmaRange range = AllowedSigmas(model);
  const std::optional<Solver> solver = ResolveSolver(sampler.solver(), violations);
  std::optional<SigmaLevels> levels =
      sampler.has_explicit_levels() ? ExplicitLevels(sampler, solver, range, limits, violations)
                                    : LevelsFromKarras(sampler, solver, range, limits, violations);
  const std::optional<Churn> churn = ResolveChurn(sampler.churn(), violations);
  if (!solver || !levels || !churn) return std::nullopt;
  return ResolvedSampler{*solver, *std::move(levels), *churn};
}

v1::Solver ToProto(Solver solver) {
  switch (solver) {
    case Solver::kEuler:
      return v1::SOLVER_EULER;
    case Solver::kHeun:
      return v1::SOLVER_HEUN;
  }
  return v1::SOLVER_UNSPECIFIED;
}

v1::Sampler ToProto(const ResolvedSampler& sampler) {
  v1::Sampler proto;
  proto.set_solver(ToProto(sampler.solver));
  proto.set_nfe(sampler.nfe());
  proto.mutable_explicit_levels()->mutable_sigmas()->Add(sampler.levels.begin(),
                                                         sampler.levels.end());
  v1::Churn& churn = *proto.mutable_churn();
  churn.set_s_churn(sampler.churn.s_churn);
  churn.set_s_min(sampler.churn.s_min);
  if (std::isfinite(sampler.churn.s_max)) churn.set_s_max(sampler.churn.s_max);
  churn.set_s_noise(sampler.churn.s_noise);
  return proto;
}

}  // namespace skipstream
