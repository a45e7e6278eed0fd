// Resolves the `sampler` field of a request.
#ifndef SKIPSTREAM_SERVER_REQUEST_SAMPLER_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_SAMPLER_RESOLVER_H_

#include <optional>

#include "model/diffusion/sampler.h"
#include "model/network_info.h"
#include "server/request/request_limits.h"
#include "server/request/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Fills in the defaults of all members of SamplingParams that the field covers; the others keep
// their default values. `strength` as in ResolveSchedule. Returns nothing if a violation was added.
std::optional<SamplingParams> ResolveSampler(const v1::Sampler& sampler, double strength,
                                             const NetworkInfo& model, const RequestLimits& limits,
                                             Violations& violations);

// Returns the network evaluations of an image, counted as users do.
int NfeOf(const SamplingParams& params);

// Returns the field with explicit levels and every default that applies to the solver filled in.
v1::Sampler ToProto(const SamplingParams& params);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_SAMPLER_RESOLVER_H_
