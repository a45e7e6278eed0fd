#include "server/request/skip_tuning_resolver.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/request/sampler_resolver.h"

namespace skipstream {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool CheckRho(std::string field, double rho, Violations& violations) {
  return violations.CheckRange(std::move(field), rho, kMinRho, kMaxRho);
}

std::optional<DepthProfile> ResolveUniform(double rho, Violations& violations) {
  if (!CheckRho("skip_tuning.rho", rho, violations)) return std::nullopt;
  return UniformDepth{rho};
}

std::optional<DepthProfile> ResolveLinear(const v1::LinearDepth& linear, Violations& violations) {
  const LinearDepth depth = {.bottom = linear.has_bottom() ? linear.bottom() : 1.0,
                             .top = linear.has_top() ? linear.top() : 1.0};
  const bool bottom_valid = CheckRho("skip_tuning.linear.bottom", depth.bottom, violations);
  const bool top_valid = CheckRho("skip_tuning.linear.top", depth.top, violations);
  if (!bottom_valid || !top_valid) return std::nullopt;
  return depth;
}

std::optional<DepthProfile> ResolveExplicit(const v1::ExplicitDepth& list, int num_skips,
                                            Violations& violations) {
  const std::string field = "skip_tuning.explicit_rho.rho";
  if (list.rho_size() != num_skips) {
    violations.Add(
        field, absl::StrCat("must have ", num_skips, " values, one per skip of this model, got ",
                            list.rho_size()));
    return std::nullopt;
  }
  bool valid = true;
  for (int i = 0; i < num_skips; ++i) {
    valid &= CheckRho(absl::StrCat(field, "[", i, "]"), list.rho(i), violations);
  }
  if (!valid) return std::nullopt;
  return ExplicitDepth{{list.rho().begin(), list.rho().end()}};
}

std::optional<DepthProfile> ResolveDepth(const v1::SkipTuning& tuning, int num_skips,
                                         Violations& violations) {
  switch (tuning.depth_case()) {
    case v1::SkipTuning::kRho:
      return ResolveUniform(tuning.rho(), violations);
    case v1::SkipTuning::kLinear:
      return ResolveLinear(tuning.linear(), violations);
    case v1::SkipTuning::kExplicitRho:
      return ResolveExplicit(tuning.explicit_rho(), num_skips, violations);
    default:
      return UniformDepth{};
  }
}

std::optional<NoiseProfile> ResolveWindow(const v1::NoiseWindow& window, Violations& violations) {
  const WindowNoise noise = {.sigma_lo = window.sigma_lo(),
                             .sigma_hi = window.has_sigma_hi() ? window.sigma_hi() : kInfinity};
  const std::string field = "skip_tuning.noise.window";
  if (!violations.CheckRange(field + ".sigma_lo", noise.sigma_lo, 0.0, kInfinity)) {
    return std::nullopt;
  }
  if (window.has_sigma_hi() &&
      !violations.CheckRange(field + ".sigma_hi", noise.sigma_hi, noise.sigma_lo, kInfinity,
                             /*above_min=*/false, " (sigma_lo)")) {
    return std::nullopt;
  }
  return noise;
}

std::optional<NoiseProfile> ResolveRamp(const v1::NoiseRamp& ramp, Violations& violations) {
  switch (ramp.direction()) {
    case v1::NOISE_RAMP_DIRECTION_UNSPECIFIED:
    case v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA:
      return RampNoise{.strongest_at_high_sigma = true};
    case v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA:
      return RampNoise{.strongest_at_high_sigma = false};
    default:
      violations.Add("skip_tuning.noise.ramp.direction",
                     absl::StrCat("must be NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA or "
                                  "NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA, got ",
                                  static_cast<int>(ramp.direction())));
      return std::nullopt;
  }
}

std::optional<NoiseProfile> ResolveKnots(const v1::NoiseKnots& list, Violations& violations) {
  const std::string field = "skip_tuning.noise.knots.knots";
  if (list.knots_size() < 1 || list.knots_size() > kMaxNoiseKnots) {
    violations.Add(field, absl::StrCat("must have between 1 and ", kMaxNoiseKnots, " knots, got ",
                                       list.knots_size()));
    return std::nullopt;
  }
  KnotsNoise noise;
  bool valid = true;
  for (int i = 0; i < list.knots_size(); ++i) {
    const v1::NoiseKnot& knot = list.knots(i);
    const std::string element = absl::StrCat(field, "[", i, "]");
    valid &=
        violations.CheckRange(element + ".strength", knot.strength(), kMinStrength, kMaxStrength);
    if (!violations.CheckRange(element + ".sigma", knot.sigma(), 0.0, kInfinity,
                               /*above_min=*/true)) {
      valid = false;
    } else if (i > 0 && !(knot.sigma() > list.knots(i - 1).sigma())) {
      violations.Add(element + ".sigma",
                     absl::StrCat("must be above that of the knot before it (",
                                  list.knots(i - 1).sigma(), "), got ", knot.sigma()));
      valid = false;
    }
    noise.knots.push_back({.sigma = knot.sigma(), .strength = knot.strength()});
  }
  if (!valid) return std::nullopt;
  return noise;
}

std::optional<NoiseProfile> ResolveNoise(const v1::SkipTuning& tuning, Violations& violations) {
  if (!tuning.has_noise()) return ConstantNoise{};
  switch (tuning.noise().profile_case()) {
    case v1::NoiseProfile::kWindow:
      return ResolveWindow(tuning.noise().window(), violations);
    case v1::NoiseProfile::kRamp:
      return ResolveRamp(tuning.noise().ramp(), violations);
    case v1::NoiseProfile::kKnots:
      return ResolveKnots(tuning.noise().knots(), violations);
    case v1::NoiseProfile::PROFILE_NOT_SET:
      break;
  }
  violations.Add("skip_tuning.noise", "must have window, ramp or knots set, or be left out");
  return std::nullopt;
}

std::optional<SkipTuning> ResolvePreset(const v1::SkipTuning& tuning, const NetworkInfo& model,
                                        const SamplingParams* sampler, Violations& violations) {
  if (tuning.has_noise()) {
    violations.Add("skip_tuning.noise",
                   "must not be set together with preset, which has its own noise profile");
  }
  if (!violations.CheckName("skip_tuning.preset", tuning.preset())) return std::nullopt;
  if (sampler == nullptr || tuning.has_noise()) return std::nullopt;
  const std::string solver(SolverName(sampler->solver));
  absl::StatusOr<SkipTuning> preset =
      FindPreset(model.presets, tuning.preset(), solver, NfeOf(*sampler));
  if (preset.ok()) return *std::move(preset);

  std::vector<std::string> known;
  for (const SkipTuningPreset& entry : model.presets) {
    known.push_back(absl::StrCat(Quoted(entry.name), " (",
                                 entry.solver.empty() ? "any solver" : entry.solver, ")"));
  }
  violations.Add("skip_tuning.preset",
                 known.empty()
                     ? absl::StrCat("must not be set: this model has no presets, got ",
                                    Quoted(tuning.preset()))
                     : absl::StrCat("must be a preset of this model that suits the solver (",
                                    solver, "), one of ", absl::StrJoin(known, ", "), "; got ",
                                    Quoted(tuning.preset())));
  return std::nullopt;
}

struct DepthToProto {
  v1::SkipTuning& proto;
  void operator()(const UniformDepth& depth) const { proto.set_rho(depth.rho); }
  void operator()(const LinearDepth& depth) const {
    proto.mutable_linear()->set_bottom(depth.bottom);
    proto.mutable_linear()->set_top(depth.top);
  }
  void operator()(const ExplicitDepth& depth) const {
    proto.mutable_explicit_rho()->mutable_rho()->Add(depth.rho.begin(), depth.rho.end());
  }
};

struct NoiseToProto {
  v1::SkipTuning& proto;
  void operator()(const ConstantNoise&) const {}  // what an absent field means
  void operator()(const WindowNoise& noise) const {
    v1::NoiseWindow& window = *proto.mutable_noise()->mutable_window();
    window.set_sigma_lo(noise.sigma_lo);
    if (std::isfinite(noise.sigma_hi)) window.set_sigma_hi(noise.sigma_hi);
  }
  void operator()(const RampNoise& noise) const {
    proto.mutable_noise()->mutable_ramp()->set_direction(
        noise.strongest_at_high_sigma ? v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA
                                      : v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA);
  }
  void operator()(const KnotsNoise& noise) const {
    for (const NoiseKnot& knot : noise.knots) {
      v1::NoiseKnot& added = *proto.mutable_noise()->mutable_knots()->add_knots();
      added.set_sigma(knot.sigma);
      added.set_strength(knot.strength);
    }
  }
};

}  // namespace

std::optional<SkipTuning> ResolveSkipTuning(const v1::SkipTuning& tuning, const NetworkInfo& model,
                                            const SamplingParams* sampler, Violations& violations) {
  std::optional<SkipTuning> resolved;
  if (tuning.depth_case() == v1::SkipTuning::kPreset) {
    resolved = ResolvePreset(tuning, model, sampler, violations);
  } else {
    std::optional<DepthProfile> depth = ResolveDepth(tuning, model.num_skips, violations);
    std::optional<NoiseProfile> noise = ResolveNoise(tuning, violations);
    if (depth && noise) resolved = SkipTuning{*std::move(depth), *std::move(noise)};
  }
  if (!resolved) return std::nullopt;

  absl::StatusOr<std::vector<double>> rho = ExpandDepth(resolved->depth, model.num_skips);
  if (!rho.ok()) {
    // Only the model file's preset can fail here: a request's own values were checked above.
    violations.Add(
        "skip_tuning.preset",
        absl::StrCat("names a preset that does not fit its model: ", rho.status().message()));
    return std::nullopt;
  }
  resolved->depth = ExplicitDepth{*std::move(rho)};
  return resolved;
}

v1::SkipTuning ToProto(const SkipTuning& tuning) {
  v1::SkipTuning proto;
  std::visit(DepthToProto{proto}, tuning.depth);
  std::visit(NoiseToProto{proto}, tuning.noise);
  return proto;
}

}  // namespace skipstream
