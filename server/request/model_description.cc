#include "server/request/model_description.h"

#include <optional>

#include "server/request/guidance_resolver.h"
#include "server/request/image_limits.h"
#include "server/request/schedule_resolver.h"
#include "server/request/skip_tuning_resolver.h"
#include "server/request/solver_names.h"

namespace skipstream {
namespace {

v1::Limits DescribeLimits(const NetworkInfo& model, const RequestLimits& limits) {
  const SigmaRange sigmas = AllowedSigmas(model);
  v1::Limits proto;
  proto.set_max_count(limits.max_count);
  proto.set_max_nfe(limits.max_nfe);
  proto.set_max_scale(MaxScale(model, limits));
  proto.set_sigma_min(sigmas.min);
  proto.set_sigma_max(sigmas.max);
  proto.set_rho_min(kMinRho);
  proto.set_rho_max(kMaxRho);
  return proto;
}

}  // namespace

v1::ModelSummary SummarizeModel(const LoadedModel& model, bool is_default) {
  v1::ModelSummary summary;
  summary.set_name(model.name());
  summary.set_is_default(is_default);
  summary.set_width(model.info().width);
  summary.set_height(model.info().height);
  summary.set_num_classes(model.info().num_classes);
  summary.set_num_skips(model.info().num_skips);
  return summary;
}

v1::GetModelResponse DescribeModel(const LoadedModel& model, bool is_default,
                                   const RequestLimits& limits) {
  const NetworkInfo& info = model.info();
  v1::GetModelResponse response;
  response.set_name(model.name());
  response.set_is_default(is_default);
  response.set_sha256(info.sha256);
  response.set_architecture(info.architecture);
  response.set_preconditioning(info.preconditioning);
  response.set_parameter_count(info.parameter_count);
  response.set_kernels(Name(info.form.kernels));
  response.set_precision(Name(info.form.precision));
  response.set_width(info.width);
  response.set_height(info.height);
  response.set_channels(info.channels);
  response.set_num_classes(info.num_classes);
  response.mutable_class_names()->Assign(info.class_names.begin(), info.class_names.end());
  response.set_num_skips(info.num_skips);
  for (const SkipTuningPreset& preset : info.presets) {
    v1::Preset& added = *response.add_presets();
    added.set_name(preset.name);
    if (const std::optional<Solver> solver = SolverFromName(preset.solver)) {
      added.set_solver(ToProto(*solver));
    }
    added.set_nfe(preset.nfe);
    *added.mutable_skip_tuning() = ToProto(preset.tuning);
  }
  response.set_license(info.license);
  *response.mutable_limits() = DescribeLimits(info, limits);
  response.set_supports_guidance(SupportsGuidance(info));
  response.mutable_sigma_levels()->Assign(info.sigma_levels.begin(), info.sigma_levels.end());
  return response;
}

}  // namespace skipstream
