// The `sampler` field of a request.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_SAMPLER_RESOLVER_H_
#define SKIPSTREAM_SERVER_TRANSPORT_SAMPLER_RESOLVER_H_

#include <optional>

#include "model/network_info.h"
#include "model/sampler/sampler.h"
#include "server/transport/request_limits.h"
#include "server/transport/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

struct ResolvedSampler {
  Solver solver = Solver::kHeun;
  SigmaLevels levels;
  Churn churn;

  int nfe() const { return NfeForLevels(solver, static_cast<int>(levels.size())); }
};

// Noise levels a request for this model may use; `min` itself is excluded when it is 0.
struct SigmaRange {
  double min = 0.0;
  double max = 0.0;
};
SigmaRange AllowedSigmas(const NetworkInfo& model);

// Fills in the defaults. Nothing if a violation was added.
std::optional<ResolvedSampler> ResolveSampler(const v1::Sampler& sampler, const NetworkInfo& model,
                                              const RequestLimits& limits, Violations& violations);

// With explicit levels and every default filled in.
v1::Sampler ToProto(const ResolvedSampler& sampler);

v1::Solver ToProto(Solver solver);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_SAMPLER_RESOLVER_H_
