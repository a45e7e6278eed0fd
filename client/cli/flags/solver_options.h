// Removes options of v1::Sampler that belong to other solvers.
#ifndef SKIPSTREAM_CLIENT_CLI_FLAGS_SOLVER_OPTIONS_H_
#define SKIPSTREAM_CLIENT_CLI_FLAGS_SOLVER_OPTIONS_H_

#include <vector>

#include "skipstream/v1/image_generation.pb.h"

namespace skipstream::cli {

// Lets one set of flags serve a sweep over solvers. An option for other solvers is removed from a
// sampler, provided that another of `samplers` does use it. An option that none uses stays for the
// server to judge, so no mistake is hidden. The standard deviation of fresh noise, which the flags
// put into churn.s_noise, moves to step_noise.s_noise for the solvers that have that.
void FitSolverOptions(const std::vector<v1::Sampler*>& samplers);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_FLAGS_SOLVER_OPTIONS_H_
