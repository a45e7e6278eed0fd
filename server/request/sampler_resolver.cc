#include "server/request/sampler_resolver.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/request/schedule_resolver.h"
#include "server/request/solver_names.h"

namespace skipstream {
namespace {

constexpr double kMaxChurn = 1000.0;
constexpr double kMaxNoiseScale = 2.0;
constexpr double kDefaultConsistencySigmaMin = 0.002;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::optional<Solver> ResolveSolver(v1::Solver solver, Violations& violations) {
  const std::optional<Solver> resolved = FromProto(solver);
  if (!resolved) {
    violations.Add("sampler.solver", absl::StrCat("must be one of ", SolverChoices(), ", got ",
                                                  static_cast<int>(solver)));
  }
  return resolved;
}

bool CheckNoiseScale(std::string field, double s_noise, Violations& violations) {
  return violations.CheckRange(std::move(field), s_noise, 0.0, kMaxNoiseScale, /*above_min=*/true);
}

std::optional<Churn> ResolveChurn(const v1::Churn& churn, std::optional<Solver> solver,
                                  Violations& violations) {
  const Churn resolved = {
      .s_churn = churn.s_churn(),
      .s_min = churn.s_min(),
      .s_max = churn.has_s_max() ? churn.s_max() : kInfinity,
      .s_noise = churn.has_s_noise() ? churn.s_noise() : 1.0,
  };
  bool valid = violations.CheckRange("sampler.churn.s_churn", resolved.s_churn, 0.0, kMaxChurn);
  if (valid && resolved.s_churn > 0.0 && solver && !TakesChurn(*solver)) {
    violations.Add(
        "sampler.churn",
        absl::StrCat("must not be set for ", ApiName(*solver),
                     ": only SOLVER_EULER and SOLVER_HEUN churn, got s_churn ", resolved.s_churn));
    valid = false;
  }
  valid &= CheckNoiseScale("sampler.churn.s_noise", resolved.s_noise, violations);
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

// False, with a violation, if a field is set that only other solvers read.
bool CheckApplies(bool is_set, bool applies, const char* field, const char* solvers,
                  std::optional<Solver> solver, Violations& violations) {
  if (!is_set || applies || !solver) return true;
  violations.Add(field, absl::StrCat("must not be set for ", ApiName(*solver), ", it is for ",
                                     solvers, " only"));
  return false;
}

std::optional<StepNoise> ResolveStepNoise(const v1::Sampler& sampler, std::optional<Solver> solver,
                                          Violations& violations) {
  const v1::StepNoise& noise = sampler.step_noise();
  const StepNoise resolved = {.eta = noise.has_eta() ? noise.eta() : 1.0,
                              .s_noise = noise.has_s_noise() ? noise.s_noise() : 1.0};
  bool valid = CheckApplies(sampler.has_step_noise(), solver && TakesStepNoise(*solver),
                            "sampler.step_noise", "SOLVER_EULER_ANCESTRAL and SOLVER_DPMPP_2M_SDE",
                            solver, violations);
  valid &= violations.CheckRange("sampler.step_noise.eta", resolved.eta, 0.0, 1.0);
  valid &= CheckNoiseScale("sampler.step_noise.s_noise", resolved.s_noise, violations);
  if (!valid) return std::nullopt;
  return resolved;
}

bool CheckDpmpp3m(const v1::Sampler& sampler, std::optional<Solver> solver,
                  Violations& violations) {
  return CheckApplies(sampler.has_dpmpp_3m(), solver == Solver::kDpmpp3m, "sampler.dpmpp_3m",
                      "SOLVER_DPMPP_3M", solver, violations);
}

std::optional<UnipcVariant> ResolveVariant(v1::UnipcVariant variant, Violations& violations) {
  switch (variant) {
    case v1::UNIPC_VARIANT_BH1:
      return UnipcVariant::kBh1;
    case v1::UNIPC_VARIANT_UNSPECIFIED:
    case v1::UNIPC_VARIANT_BH2:
      return UnipcVariant::kBh2;
    default:
      violations.Add("sampler.unipc.variant",
                     absl::StrCat("must be UNIPC_VARIANT_BH1 or UNIPC_VARIANT_BH2, got ",
                                  static_cast<int>(variant)));
      return std::nullopt;
  }
}

std::optional<Unipc> ResolveUnipc(const v1::Sampler& sampler, std::optional<Solver> solver,
                                  Violations& violations) {
  const v1::Unipc& unipc = sampler.unipc();
  const int order = unipc.has_order() ? unipc.order() : 2;
  bool valid = CheckApplies(sampler.has_unipc(), solver == Solver::kUnipc, "sampler.unipc",
                            "SOLVER_UNIPC", solver, violations);
  valid &= violations.CheckRange("sampler.unipc.order", int64_t{order}, 1, 3);
  const std::optional<UnipcVariant> variant = ResolveVariant(unipc.variant(), violations);
  if (!valid || !variant) return std::nullopt;
  return Unipc{.order = order,
               .variant = *variant,
               .corrector = !unipc.has_corrector() || unipc.corrector()};
}

// `lowest`: the lowest level where a step starts; 0 if it is not known.
std::optional<double> ResolveConsistencySigmaMin(const v1::Sampler& sampler,
                                                 std::optional<Solver> solver, double lowest,
                                                 const SigmaRange& range, Violations& violations) {
  if (!CheckApplies(sampler.has_consistency_sigma_min(), solver == Solver::kConsistency,
                    "sampler.consistency_sigma_min", "SOLVER_CONSISTENCY", solver, violations)) {
    return std::nullopt;
  }
  if (!sampler.has_consistency_sigma_min()) {
    return std::min(range.min > 0.0 ? range.min : kDefaultConsistencySigmaMin, lowest);
  }
  const bool is_known = lowest > 0.0;
  if (!violations.CheckRange("sampler.consistency_sigma_min", sampler.consistency_sigma_min(), 0.0,
                             is_known ? lowest : kInfinity, /*above_min=*/false,
                             is_known ? " (the lowest level)" : "")) {
    return std::nullopt;
  }
  return sampler.consistency_sigma_min();
}

// One value per evaluation; `nfe` is 0 if it is not known.
std::optional<std::vector<double>> ResolveConditioning(const v1::Sampler& sampler, int nfe,
                                                       const SigmaRange& range, int max_nfe,
                                                       Violations& violations) {
  const std::string field = "sampler.conditioning_sigmas";
  const auto& sigmas = sampler.conditioning_sigmas();
  if (sigmas.empty()) return std::vector<double>();
  if (nfe > 0 && sigmas.size() != nfe) {
    violations.Add(field, absl::StrCat("must have 0 or ", nfe, " values, one per evaluation, got ",
                                       sigmas.size()));
    return std::nullopt;
  }
  if (sigmas.size() > max_nfe) {
    violations.Add(field,
                   absl::StrCat("must have at most ", max_nfe, " values, got ", sigmas.size()));
    return std::nullopt;
  }
  bool valid = true;
  for (int i = 0; i < sigmas.size(); ++i) {
    valid &= CheckSigma(absl::StrCat(field, "[", i, "]"), sigmas[i], range, violations);
  }
  if (!valid) return std::nullopt;
  return std::vector<double>(sigmas.begin(), sigmas.end());
}

FinalLevel FinalLevelOf(double final_sigma) {
  return final_sigma > 0.0 ? FinalLevel::kPositive : FinalLevel::kZero;
}

v1::Churn ToProto(const Churn& churn) {
  v1::Churn proto;
  proto.set_s_churn(churn.s_churn);
  proto.set_s_min(churn.s_min);
  if (std::isfinite(churn.s_max)) proto.set_s_max(churn.s_max);
  proto.set_s_noise(churn.s_noise);
  return proto;
}

v1::StepNoise ToProto(const StepNoise& noise) {
  v1::StepNoise proto;
  proto.set_eta(noise.eta);
  proto.set_s_noise(noise.s_noise);
  return proto;
}

v1::Unipc ToProto(const Unipc& unipc) {
  v1::Unipc proto;
  proto.set_order(unipc.order);
  proto.set_variant(unipc.variant == UnipcVariant::kBh1 ? v1::UNIPC_VARIANT_BH1
                                                        : v1::UNIPC_VARIANT_BH2);
  proto.set_corrector(unipc.corrector);
  return proto;
}

}  // namespace

std::optional<SamplingParams> ResolveSampler(const v1::Sampler& sampler, double strength,
                                             const NetworkInfo& model, const RequestLimits& limits,
                                             Violations& violations) {
  const SigmaRange range = AllowedSigmas(model);
  const std::optional<Solver> solver = ResolveSolver(sampler.solver(), violations);
  std::optional<ResolvedSchedule> schedule =
      ResolveSchedule(sampler, solver, strength, model, limits, violations);
  const std::optional<Churn> churn = ResolveChurn(sampler.churn(), solver, violations);
  const std::optional<StepNoise> step_noise = ResolveStepNoise(sampler, solver, violations);
  const bool dpmpp_3m_valid = CheckDpmpp3m(sampler, solver, violations);
  const std::optional<Unipc> unipc = ResolveUnipc(sampler, solver, violations);
  const std::optional<double> consistency_sigma_min = ResolveConsistencySigmaMin(
      sampler, solver, schedule ? schedule->levels.back() : 0.0, range, violations);
  const int nfe = schedule ? NfeForLevels(*solver, FinalLevelOf(schedule->final_sigma),
                                          static_cast<int>(schedule->levels.size()))
                           : 0;
  std::optional<std::vector<double>> conditioning =
      ResolveConditioning(sampler, nfe, range, limits.max_nfe, violations);
  if (!schedule || !churn || !step_noise || !dpmpp_3m_valid || !unipc || !consistency_sigma_min ||
      !conditioning) {
    return std::nullopt;
  }
  SamplingParams params;
  params.solver = *solver;
  params.levels = std::move(schedule->levels);
  params.final_sigma = schedule->final_sigma;
  params.network_levels = model.sigma_levels;
  params.conditioning_sigmas = *std::move(conditioning);
  // Options that the solver does not read keep their defaults, like in the resolved request.
  if (TakesChurn(*solver)) params.churn = *churn;
  params.step_noise = *step_noise;
  params.dpmpp_3m_halved_curvature = sampler.dpmpp_3m().halved_curvature();
  params.unipc = *unipc;
  params.consistency_sigma_min = *consistency_sigma_min;
  return params;
}

int NfeOf(const SamplingParams& params) {
  return NfeForLevels(params.solver, FinalLevelOf(params.final_sigma),
                      static_cast<int>(params.levels.size()));
}

v1::Sampler ToProto(const SamplingParams& params) {
  v1::Sampler proto;
  proto.set_solver(ToProto(params.solver));
  proto.set_nfe(NfeOf(params));
  ToProto({.levels = params.levels, .final_sigma = params.final_sigma}, proto);
  proto.mutable_conditioning_sigmas()->Add(params.conditioning_sigmas.begin(),
                                           params.conditioning_sigmas.end());
  if (TakesChurn(params.solver)) *proto.mutable_churn() = ToProto(params.churn);
  if (TakesStepNoise(params.solver)) *proto.mutable_step_noise() = ToProto(params.step_noise);
  if (params.solver == Solver::kDpmpp3m) {
    proto.mutable_dpmpp_3m()->set_halved_curvature(params.dpmpp_3m_halved_curvature);
  }
  if (params.solver == Solver::kUnipc) *proto.mutable_unipc() = ToProto(params.unipc);
  if (params.solver == Solver::kConsistency) {
    proto.set_consistency_sigma_min(params.consistency_sigma_min);
  }
  return proto;
}

}  // namespace skipstream
