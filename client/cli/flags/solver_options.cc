#include "client/cli/flags/solver_options.h"

#include <algorithm>
#include <iterator>

namespace skipstream::cli {
namespace {

struct SolverOption {
  int field;  // number in v1::Sampler
  bool (*used_by)(v1::Solver);
};

bool HasChurn(v1::Solver solver) {
  return solver == v1::SOLVER_UNSPECIFIED || solver == v1::SOLVER_HEUN ||
         solver == v1::SOLVER_EULER;
}

bool HasStepNoise(v1::Solver solver) {
  return solver == v1::SOLVER_EULER_ANCESTRAL || solver == v1::SOLVER_DPMPP_2M_SDE;
}

const SolverOption kOptions[] = {
    {v1::Sampler::kChurnFieldNumber, &HasChurn},
    {v1::Sampler::kStepNoiseFieldNumber, &HasStepNoise},
    {v1::Sampler::kUnipcFieldNumber, [](v1::Solver solver) { return solver == v1::SOLVER_UNIPC; }},
    {v1::Sampler::kDpmpp3MFieldNumber,
     [](v1::Solver solver) { return solver == v1::SOLVER_DPMPP_3M; }},
    {v1::Sampler::kConsistencySigmaMinFieldNumber,
     [](v1::Solver solver) { return solver == v1::SOLVER_CONSISTENCY; }},
};

void MoveNoiseLevel(v1::Sampler& sampler) {
  if (!HasStepNoise(sampler.solver()) || !sampler.churn().has_s_noise()) return;
  sampler.mutable_step_noise()->set_s_noise(sampler.churn().s_noise());
  sampler.mutable_churn()->clear_s_noise();
  if (sampler.churn().ByteSizeLong() == 0) sampler.clear_churn();
}

}  // namespace

void FitSolverOptions(const std::vector<v1::Sampler*>& samplers) {
  for (v1::Sampler* sampler : samplers) MoveNoiseLevel(*sampler);
  const google::protobuf::Reflection& reflection = *v1::Sampler::GetReflection();
  for (const SolverOption& option : kOptions) {
    const auto uses = [&option](const v1::Sampler* sampler) {
      return option.used_by(sampler->solver());
    };
    if (std::none_of(samplers.begin(), samplers.end(), uses)) continue;
    for (v1::Sampler* sampler : samplers) {
      if (!uses(sampler)) {
        reflection.ClearField(sampler, v1::Sampler::descriptor()->FindFieldByNumber(option.field));
      }
    }
  }
}

}  // namespace skipstream::cli
