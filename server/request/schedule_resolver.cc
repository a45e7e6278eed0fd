#include "server/request/schedule_resolver.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/request/solver_names.h"

namespace skipstream {
namespace {

constexpr int kDefaultNfe = 19;
constexpr double kLargestSigma = 1e6;
constexpr double kDefaultExponent = 7.0;
constexpr double kMaxExponent = 100.0;
constexpr char kLevelsField[] = "sampler.explicit_levels.sigmas";

// A schedule without the number of its levels. The ends are those of EDM Table 1 until a request
// says otherwise.
struct Curve {
  Spacing spacing = KarrasSpacing{};
  double sigma_min = 0.002;
  double sigma_max = 80.0;
};

Curve DefaultCurve(const v1::Sampler& sampler) {
  switch (sampler.schedule_case()) {
    case v1::Sampler::kExponential:
      return {.spacing = ExponentialSpacing{}};
    case v1::Sampler::kLinear:
      return {.spacing = LinearSpacing{}};
    case v1::Sampler::kVp:
      return {.spacing = VpSpacing{}, .sigma_min = VpSigma(1e-3), .sigma_max = VpSigma(1.0)};
    case v1::Sampler::kVe:
      return {.spacing = ExponentialSpacing{}, .sigma_min = 0.02, .sigma_max = 100.0};
    case v1::Sampler::kIddpm:
      return {.spacing = IddpmSpacing{}, .sigma_max = 81.0};
    default:
      return {.spacing = KarrasSpacing{sampler.karras().has_schedule_exponent()
                                           ? sampler.karras().schedule_exponent()
                                           : kDefaultExponent}};
  }
}

std::optional<Curve> ResolveCurve(const v1::Sampler& sampler, const SigmaRange& range,
                                  Violations& violations) {
  Curve curve = DefaultCurve(sampler);
  curve.sigma_min =
      sampler.has_sigma_min() ? sampler.sigma_min() : std::max(curve.sigma_min, range.min);
  curve.sigma_max =
      sampler.has_sigma_max() ? sampler.sigma_max() : std::min(curve.sigma_max, range.max);

  const bool min_valid = CheckSigma("sampler.sigma_min", curve.sigma_min, range, violations);
  const bool max_valid = CheckSigma("sampler.sigma_max", curve.sigma_max, range, violations);
  bool valid = min_valid && max_valid;
  if (valid && curve.sigma_max <= curve.sigma_min) {
    violations.Add(
        sampler.has_sigma_max() ? "sampler.sigma_max" : "sampler.sigma_min",
        absl::StrCat("sigma_max must be above sigma_min, got sigma_min ", curve.sigma_min,
                     sampler.has_sigma_min() ? "" : " (the default)", " and sigma_max ",
                     curve.sigma_max, sampler.has_sigma_max() ? "" : " (the default)"));
    valid = false;
  }
  if (const auto* karras = std::get_if<KarrasSpacing>(&curve.spacing)) {
    valid &= violations.CheckRange("sampler.karras.schedule_exponent", karras->exponent, 1.0,
                                   kMaxExponent);
  }
  if (!valid) return std::nullopt;
  return curve;
}

std::optional<FinalLevel> ResolveFinalStep(v1::FinalStep final_step, std::optional<Solver> solver,
                                           Violations& violations) {
  switch (final_step) {
    case v1::FINAL_STEP_UNSPECIFIED:
    case v1::FINAL_STEP_ZERO:
      return FinalLevel::kZero;
    case v1::FINAL_STEP_SIGMA_MIN:
      if (solver != Solver::kConsistency) return FinalLevel::kPositive;
      violations.Add("sampler.final_step",
                     "must be FINAL_STEP_ZERO for SOLVER_CONSISTENCY, got FINAL_STEP_SIGMA_MIN");
      return std::nullopt;
    default:
      violations.Add("sampler.final_step",
                     absl::StrCat("must be FINAL_STEP_ZERO or FINAL_STEP_SIGMA_MIN, got ",
                                  static_cast<int>(final_step)));
      return std::nullopt;
  }
}

std::optional<int> ResolveNfe(const v1::Sampler& sampler, Solver solver, FinalLevel final_level,
                              int max_nfe, Violations& violations) {
  const bool needs_even = IsTwoCallSolver(solver) && final_level == FinalLevel::kPositive;
  const int nfe = sampler.has_nfe() ? sampler.nfe() : kDefaultNfe - (needs_even ? 1 : 0);
  if (!violations.CheckRange("sampler.nfe", int64_t{nfe}, 1, max_nfe)) return std::nullopt;
  if (LevelsForNfe(solver, final_level, nfe).ok()) return nfe;
  std::vector<std::string> neighbours;
  if (nfe > 1) neighbours.push_back(absl::StrCat(nfe - 1));
  if (nfe < max_nfe) neighbours.push_back(absl::StrCat(nfe + 1));
  violations.Add(
      "sampler.nfe",
      absl::StrCat("must be ", needs_even ? "even" : "odd", " for ", ApiName(solver),
                   needs_even ? " with FINAL_STEP_SIGMA_MIN" : "", ": use ", neighbours.front(),
                   neighbours.size() > 1 ? " or " + neighbours.back() : "", ", got ", nfe));
  return std::nullopt;
}

// Levels as listed, the last step's end among them.
std::optional<SigmaLevels> ListedLevels(const v1::Sampler& sampler, const SigmaRange& range,
                                        Violations& violations) {
  const auto& sigmas = sampler.explicit_levels().sigmas();
  bool valid = true;
  for (int i = 0; i < sigmas.size(); ++i) {
    const std::string element = absl::StrCat(kLevelsField, "[", i, "]");
    if (!CheckSigma(element, sigmas[i], range, violations)) {
      valid = false;
    } else if (i > 0 && sigmas[i] >= sigmas[i - 1]) {
      violations.Add(element, absl::StrCat("must be below the value before it (", sigmas[i - 1],
                                           "), got ", sigmas[i]));
      valid = false;
    }
  }
  if (!valid) return std::nullopt;
  return SigmaLevels(sigmas.begin(), sigmas.end());
}

std::optional<SigmaLevels> ExplicitLevels(const v1::Sampler& sampler, std::optional<Solver> solver,
                                          std::optional<FinalLevel> final_level,
                                          const NetworkInfo& model, const RequestLimits& limits,
                                          Violations& violations) {
  bool valid = true;
  for (const auto& [set, name] : {std::pair(sampler.has_sigma_min(), "sampler.sigma_min"),
                                  std::pair(sampler.has_sigma_max(), "sampler.sigma_max")}) {
    if (!set) continue;
    violations.Add(name, "must not be set together with explicit_levels");
    valid = false;
  }

  const int end = final_level == FinalLevel::kPositive ? 1 : 0;  // levels where no step starts
  const int size = sampler.explicit_levels().sigmas_size();
  int max_starts = limits.max_nfe;
  if (solver && IsTwoCallSolver(*solver)) max_starts = (limits.max_nfe + 1 - end) / 2;
  int max_levels = max_starts + end;
  if (!model.sigma_levels.empty()) {
    max_levels = std::min(max_levels, static_cast<int>(model.sigma_levels.size()));
  }
  if (size < 1 + end || size > max_levels) {
    violations.Add(kLevelsField, absl::StrCat("must have between ", 1 + end, " and ", max_levels,
                                              " values, got ", size));
    return std::nullopt;
  }
  std::optional<SigmaLevels> levels = ListedLevels(sampler, AllowedSigmas(model), violations);
  if (solver && final_level && sampler.has_nfe()) {
    const int needed = NfeForLevels(*solver, *final_level, size - end);
    if (sampler.nfe() != needed) {
      violations.Add("sampler.nfe",
                     absl::StrCat("must be ", needed, ", what ", size,
                                  " explicit levels need, or left out; got ", sampler.nfe()));
      valid = false;
    }
  }
  if (!valid || !levels) return std::nullopt;
  return levels;
}

// n levels of the curve, its start moved down by `strength`.
std::optional<SigmaLevels> LevelsOnCurve(const Curve& curve, int n, double strength,
                                         Violations& violations) {
  const double start = LevelAt(curve.spacing, 1.0 - strength, curve.sigma_min, curve.sigma_max);
  absl::StatusOr<SigmaLevels> levels = SpacedLevels(curve.spacing, n, curve.sigma_min, start);
  if (levels.ok()) return *std::move(levels);
  const std::string got = absl::StrCat(n, " levels, got sigma_min ", curve.sigma_min,
                                       " and sigma_max ", curve.sigma_max);
  if (strength < 1.0) {
    violations.Add("input_image.strength",
                   absl::StrCat("is too low for ", got, " and strength ", strength));
  } else if (std::holds_alternative<IddpmSpacing>(curve.spacing)) {
    violations.Add("sampler.nfe",
                   absl::StrCat("is too high: the iddpm schedule does not have ", got));
  } else {
    violations.Add("sampler.sigma_max", absl::StrCat("is too close to sigma_min for ", got));
  }
  return std::nullopt;
}

std::optional<SigmaLevels> ScheduledLevels(const v1::Sampler& sampler, std::optional<Solver> solver,
                                           std::optional<FinalLevel> final_level, double strength,
                                           const NetworkInfo& model, const RequestLimits& limits,
                                           Violations& violations) {
  const std::optional<Curve> curve = ResolveCurve(sampler, AllowedSigmas(model), violations);
  if (!solver || !final_level) return std::nullopt;
  const std::optional<int> nfe =
      ResolveNfe(sampler, *solver, *final_level, limits.max_nfe, violations);
  if (!curve || !nfe) return std::nullopt;

  // sigma_min is a level where no step starts if the last step ends there; and for consistency
  // sampling, as the model's function changes nothing there.
  const bool is_consistency = *solver == Solver::kConsistency;
  const bool ends_there = *final_level == FinalLevel::kPositive;
  const int n = LevelsForNfe(*solver, *final_level, *nfe).value() + (ends_there ? 1 : 0);
  std::optional<SigmaLevels> levels =
      LevelsOnCurve(*curve, n + (is_consistency ? 1 : 0), strength, violations);
  if (levels && is_consistency) levels->pop_back();
  return levels;
}

}  // namespace

SigmaRange AllowedSigmas(const NetworkInfo& model) {
  return {.min = model.sigma_min, .max = std::min(model.sigma_max, kLargestSigma)};
}

bool CheckSigma(std::string field, double sigma, const SigmaRange& range, Violations& violations) {
  return violations.CheckRange(std::move(field), sigma, range.min, range.max,
                               /*above_min=*/range.min == 0.0, " for this model");
}

std::optional<ResolvedSchedule> ResolveSchedule(const v1::Sampler& sampler,
                                                std::optional<Solver> solver, double strength,
                                                const NetworkInfo& model,
                                                const RequestLimits& limits,
                                                Violations& violations) {
  const std::optional<FinalLevel> final_level =
      ResolveFinalStep(sampler.final_step(), solver, violations);
  std::optional<SigmaLevels> levels =
      sampler.has_explicit_levels()
          ? ExplicitLevels(sampler, solver, final_level, model, limits, violations)
          : ScheduledLevels(sampler, solver, final_level, strength, model, limits, violations);
  if (!levels || !solver || !final_level) return std::nullopt;

  absl::StatusOr<SigmaLevels> rounded = RoundLevels(*levels, model.sigma_levels);
  if (!rounded.ok()) {  // a list that long was refused above
    violations.Add("sampler.nfe",
                   absl::StrCat("is too high: it needs ", levels->size(),
                                " noise levels, and this model knows ", model.sigma_levels.size()));
    return std::nullopt;
  }
  ResolvedSchedule schedule = {.levels = *std::move(rounded)};
  if (final_level == FinalLevel::kPositive) {
    schedule.final_sigma = schedule.levels.back();
    schedule.levels.pop_back();
  }
  return schedule;
}

void ToProto(const ResolvedSchedule& schedule, v1::Sampler& proto) {
  auto& sigmas = *proto.mutable_explicit_levels()->mutable_sigmas();
  sigmas.Add(schedule.levels.begin(), schedule.levels.end());
  if (schedule.final_sigma > 0.0) sigmas.Add(schedule.final_sigma);
  proto.set_final_step(schedule.final_sigma > 0.0 ? v1::FINAL_STEP_SIGMA_MIN : v1::FINAL_STEP_ZERO);
}

}  // namespace skipstream
