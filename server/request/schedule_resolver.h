// Resolves the noise levels of a request: `sampler.nfe`, its schedule and the level where the last
// step ends.
#ifndef SKIPSTREAM_SERVER_REQUEST_SCHEDULE_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_SCHEDULE_RESOLVER_H_

#include <optional>
#include <string>

#include "model/diffusion/sigma_schedule.h"
#include "model/diffusion/solver.h"
#include "model/network_info.h"
#include "server/request/request_limits.h"
#include "server/request/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Holds the noise levels that a request for this model may use; `min` itself is excluded when it is
// 0.
struct SigmaRange {
  double min = 0.0;
  double max = 0.0;
};
SigmaRange AllowedSigmas(const NetworkInfo& model);

// Adds a violation and returns false if `sigma` is outside the range.
bool CheckSigma(std::string field, double sigma, const SigmaRange& range, Violations& violations);

struct ResolvedSchedule {
  SigmaLevels levels;        // where steps start
  double final_sigma = 0.0;  // where the last one ends
};

// Fills in the defaults and rounds to the model's levels if it has certain ones only. An init
// image's `strength` (above 0, at most 1) says how far up the schedule the first step starts.
// `solver` is empty if it was not valid. Returns nothing if a violation was added or the solver is
// not known.
std::optional<ResolvedSchedule> ResolveSchedule(const v1::Sampler& sampler,
                                                std::optional<Solver> solver, double strength,
                                                const NetworkInfo& model,
                                                const RequestLimits& limits,
                                                Violations& violations);

// Sets final_step and explicit levels.
void ToProto(const ResolvedSchedule& schedule, v1::Sampler& proto);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_SCHEDULE_RESOLVER_H_
