// The `sampler` field of a request.
#ifndef SKIPSTREAM_SERVER_REQUEST_SAMPLER_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_SAMPLER_RESOLVER_H_

#include <optional>

#include "model/diffusion/sampler.h"
#include "model/network_info.h"
#include "server/request/request_limits.h"
#include "server/request/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Fills in the defaults: everything in SamplingParams that the field speaks of; what else is there
// is left as it is by default. `strength` as in ResolveSchedule. Nothing if a violation was added.
std::optional<SamplingParams> ResolveSampler(const v1::Sampler& sampler, double strength,
                                             const NetworkInfo& model, const RequestLimits& limits,
                                             Violations& violations);

// Network evaluations of an image, counted as users do.
int NfeOf(const SamplingParams& params);

// With explicit levels and every default that applies to the solver filled in.
v1::Sampler ToProto(const SamplingParams& params);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_SAMPLER_RESOLVER_H_
