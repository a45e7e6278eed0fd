#include "server/request/guidance_resolver.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/request/schedule_resolver.h"

namespace skipstream {
namespace {

constexpr double kMaxScale = 100.0;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string ShapeOf(const NetworkInfo& model) {
  return absl::StrCat(model.width, "x", model.height, "x", model.channels, " and ",
                      model.num_classes, " classes");
}

bool CheckGuide(const LoadedModel& guide, const NetworkInfo& model, Violations& violations) {
  const NetworkInfo& info = guide.info();
  const bool has_shape = info.width == model.width && info.height == model.height &&
                         info.channels == model.channels && info.num_classes == model.num_classes;
  const bool may_differ_in_classes = !info.class_names.empty() && !model.class_names.empty() &&
                                     info.class_names != model.class_names;
  if (has_shape && !may_differ_in_classes) return true;
  if (has_shape) {
    violations.Add("guidance.guide_model",
                   absl::StrCat("must name a model with the same classes in the same order; those "
                                "of ",
                                Quoted(guide.name()), " differ"));
    return false;
  }
  violations.Add("guidance.guide_model",
                 absl::StrCat("must name a model of ", ShapeOf(model), ", like the guided one; ",
                              Quoted(guide.name()), " has ", ShapeOf(info)));
  return false;
}

// A guidance by the model itself.
bool CheckSelfGuidance(double scale, const NetworkInfo& model, Violations& violations) {
  if (scale == 1.0 || SupportsGuidance(model)) return true;
  violations.Add(
      "guidance.scale",
      absl::StrCat("must be 1 without guide_model: this model ",
                   model.num_classes == 0 ? "has no classes" : "was not trained with label dropout",
                   ", got ", scale));
  return false;
}

}  // namespace

bool SupportsGuidance(const NetworkInfo& model) {
  return model.num_classes > 0 && model.label_dropout > 0.0;
}

ModelReference GuideReference(const v1::Guidance& guidance) {
  return {.field = "guidance.guide_model",
          .name = guidance.guide_model(),
          .sha256 = guidance.guide_model_sha256()};
}

std::optional<Guidance> ResolveGuidance(const v1::Guidance& guidance, const NetworkInfo& model,
                                        const LoadedModel* guide, Violations& violations) {
  Guidance resolved = {
      .scale = guidance.has_scale() ? guidance.scale() : 1.0,
      .sigma_lo = guidance.sigma_lo(),
      .sigma_hi = guidance.has_sigma_hi() ? guidance.sigma_hi() : kInfinity,
      .guide_num_skips = std::nullopt,
  };
  bool valid = violations.CheckRange("guidance.scale", resolved.scale, 0.0, kMaxScale);
  if (guide != nullptr) {
    valid &= CheckGuide(*guide, model, violations);
    resolved.guide_num_skips = guide->info().num_skips;
    resolved.guide_parametrization = guide->info().parametrization;
  } else {
    if (valid) valid = CheckSelfGuidance(resolved.scale, model, violations);
    if (!guidance.guide_model_sha256().empty()) {
      violations.Add("guidance.guide_model_sha256", "must not be set without guide_model");
      valid = false;
    }
  }
  if (!violations.CheckRange("guidance.sigma_lo", resolved.sigma_lo, 0.0, kInfinity)) {
    return std::nullopt;
  }
  if (guidance.has_sigma_hi()) {
    valid &= violations.CheckRange("guidance.sigma_hi", resolved.sigma_hi, resolved.sigma_lo,
                                   kInfinity, /*above_min=*/false, " (sigma_lo)");
  }
  if (!valid) return std::nullopt;
  return resolved;
}

void CheckGuideLevels(const SamplingPlan& plan, const NetworkInfo& guide, Violations& violations) {
  const SigmaRange range = AllowedSigmas(guide);
  for (const SolverStep& step : plan.steps) {
    for (const DenoiserTerm& term : step.terms) {
      if (term.network == 0) continue;
      for (const double sigma : {step.sigma, term.conditioning_sigma}) {
        if (sigma >= range.min && sigma <= range.max) continue;
        violations.Add("guidance.guide_model",
                       absl::StrCat("knows noise levels between ", range.min, " and ", range.max,
                                    " only, and is evaluated at ", sigma,
                                    " here: set sigma_lo and sigma_hi, or choose other levels"));
        return;
      }
    }
  }
}

v1::Guidance ToProto(const Guidance& guidance, const LoadedModel* guide) {
  v1::Guidance proto;
  proto.set_scale(guidance.scale);
  proto.set_sigma_lo(guidance.sigma_lo);
  if (std::isfinite(guidance.sigma_hi)) proto.set_sigma_hi(guidance.sigma_hi);
  if (guide != nullptr) {
    proto.set_guide_model(guide->name());
    proto.set_guide_model_sha256(guide->info().sha256);
  }
  return proto;
}

}  // namespace skipstream
