#include "model/diffusion/skip_tuning.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace skipstream {
namespace {

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

absl::Status CheckRho(absl::string_view name, double rho) {
  // Negated so that NaN is refused.
  if (!(rho >= kMinRho && rho <= kMaxRho)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": must be from ", kMinRho, " to ", kMaxRho, "; got ", rho));
  }
  return absl::OkStatus();
}

absl::Status Validate(const ConstantNoise&) { return absl::OkStatus(); }
absl::Status Validate(const RampNoise&) { return absl::OkStatus(); }

absl::Status Validate(const WindowNoise& window) {
  if (!std::isfinite(window.sigma_lo) || window.sigma_lo < 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sigma_lo: must be finite and at least 0; got ", window.sigma_lo));
  }
  if (!(window.sigma_hi >= window.sigma_lo)) {
    return absl::InvalidArgumentError(absl::StrCat("sigma_hi: must be at least sigma_lo (",
                                                   window.sigma_lo, "); got ", window.sigma_hi));
  }
  return absl::OkStatus();
}

absl::Status Validate(const KnotsNoise& noise) {
  if (noise.knots.empty()) return absl::InvalidArgumentError("knots: at least one is needed");
  for (size_t i = 0; i < noise.knots.size(); ++i) {
    const NoiseKnot& knot = noise.knots[i];
    if (!std::isfinite(knot.sigma) || knot.sigma <= 0.0) {
      return absl::InvalidArgumentError(
          absl::StrCat("knots[", i, "].sigma: must be finite and above 0; got ", knot.sigma));
    }
    if (i > 0 && knot.sigma <= noise.knots[i - 1].sigma) {
      return absl::InvalidArgumentError(
          absl::StrCat("knots[", i, "].sigma: must be above that of the knot before (",
                       noise.knots[i - 1].sigma, "); got ", knot.sigma));
    }
    if (!(knot.strength >= kMinStrength && knot.strength <= kMaxStrength)) {
      return absl::InvalidArgumentError(absl::StrCat("knots[", i, "].strength: must be from ",
                                                     kMinStrength, " to ", kMaxStrength, "; got ",
                                                     knot.strength));
    }
  }
  return absl::OkStatus();
}

// Returns the position of `sigma` between `lo` (0) and `hi` (1) on a log scale, clamped.
double LogPosition(double sigma, double lo, double hi) {
  if (sigma >= hi) return 1.0;
  if (sigma <= lo) return 0.0;
  return (std::log(sigma) - std::log(lo)) / (std::log(hi) - std::log(lo));
}

double InterpolateKnots(const std::vector<NoiseKnot>& knots, double sigma) {
  const auto right = std::find_if(knots.begin(), knots.end(),
                                  [&](const NoiseKnot& knot) { return knot.sigma >= sigma; });
  if (right == knots.end()) return knots.back().strength;
  if (right == knots.begin()) return right->strength;
  const auto left = right - 1;
  return std::lerp(left->strength, right->strength, LogPosition(sigma, left->sigma, right->sigma));
}

// Returns the ratio of two NFE, at least 1. It orders like the distance in log NFE, and two equal
// distances compare equal.
double NfeRatio(int a, int b) {
  return static_cast<double>(std::max(a, b)) / static_cast<double>(std::min(a, b));
}

absl::Status PresetNotFound(const std::vector<SkipTuningPreset>& presets, const std::string& name,
                            const std::string& solver) {
  std::set<std::string> known;
  for (const SkipTuningPreset& preset : presets) {
    known.insert(absl::StrCat("\"", preset.name, "\" (solver ",
                              preset.solver.empty() ? "any" : preset.solver, ")"));
  }
  return absl::NotFoundError(
      absl::StrCat("preset: the model has no \"", name, "\" for solver ", solver, "; it has ",
                   known.empty() ? "no presets" : absl::StrJoin(known, ", ")));
}

}  // namespace

absl::StatusOr<std::vector<double>> ExpandDepth(const DepthProfile& depth, int num_skips) {
  if (num_skips < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_skips: must be at least 1; got ", num_skips));
  }
  using Result = absl::StatusOr<std::vector<double>>;
  return std::visit(
      Overloaded{
          [&](const UniformDepth& uniform) -> Result {
            if (absl::Status status = CheckRho("rho", uniform.rho); !status.ok()) return status;
            return std::vector<double>(num_skips, uniform.rho);
          },
          [&](const LinearDepth& linear) -> Result {
            if (absl::Status status = CheckRho("bottom", linear.bottom); !status.ok())
              return status;
            if (absl::Status status = CheckRho("top", linear.top); !status.ok()) return status;
            std::vector<double> rho(num_skips, linear.bottom);
            for (int i = 1; i < num_skips; ++i) {
              rho[i] =
                  std::lerp(linear.bottom, linear.top, static_cast<double>(i) / (num_skips - 1));
            }
            return rho;
          },
          [&](const ExplicitDepth& list) -> Result {
            if (list.rho.size() != static_cast<size_t>(num_skips)) {
              return absl::InvalidArgumentError(absl::StrCat(
                  "rho: must have ", num_skips, " values, one per skip; got ", list.rho.size()));
            }
            for (size_t i = 0; i < list.rho.size(); ++i) {
              absl::Status status = CheckRho(absl::StrCat("rho[", i, "]"), list.rho[i]);
              if (!status.ok()) return status;
            }
            return list.rho;
          }},
      depth);
}

absl::Status ValidateNoise(const NoiseProfile& noise) {
  return std::visit([](const auto& profile) { return Validate(profile); }, noise);
}

double NoiseStrength(const NoiseProfile& noise, double sigma, double lowest, double highest) {
  return std::visit(
      Overloaded{[](const ConstantNoise&) { return 1.0; },
                 [&](const WindowNoise& window) {
                   return sigma >= window.sigma_lo && sigma <= window.sigma_hi ? 1.0 : 0.0;
                 },
                 [&](const RampNoise& ramp) {
                   const double position = LogPosition(sigma, lowest, highest);
                   return ramp.strongest_at_high_sigma ? position : 1.0 - position;
                 },
                 [&](const KnotsNoise& knots) { return InterpolateKnots(knots.knots, sigma); }},
      noise);
}

std::vector<float> RhoAtStrength(const std::vector<double>& depth_rho, double strength) {
  std::vector<float> rho(depth_rho.size());
  std::transform(depth_rho.begin(), depth_rho.end(), rho.begin(), [strength](double full) {
    return static_cast<float>(std::lerp(1.0, full, strength));
  });
  return rho;
}

absl::StatusOr<SkipTuning> FindPreset(const std::vector<SkipTuningPreset>& presets,
                                      const std::string& name, const std::string& solver, int nfe) {
  const SkipTuningPreset* best = nullptr;
  auto rank = [&](const SkipTuningPreset& preset) {
    return std::make_tuple(preset.solver.empty(), NfeRatio(preset.nfe, nfe), preset.nfe);
  };
  for (const SkipTuningPreset& preset : presets) {
    if (preset.name != name) continue;
    if (!preset.solver.empty() && preset.solver != solver) continue;
    if (best == nullptr || rank(preset) < rank(*best)) best = &preset;
  }
  if (best == nullptr) return PresetNotFound(presets, name, solver);
  return best->tuning;
}

}  // namespace skipstream
