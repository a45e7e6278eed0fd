// Resolves the `skip_tuning` field of a request.
#ifndef SKIPSTREAM_SERVER_REQUEST_SKIP_TUNING_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_SKIP_TUNING_RESOLVER_H_

#include <optional>

#include "model/diffusion/sampler.h"
#include "model/diffusion/skip_tuning.h"
#include "model/network_info.h"
#include "server/request/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Fills in the defaults; the depth of the result is explicit, one rho per skip, and a preset is
// expanded. `sampler` chooses the preset's entry; null if it is not known because it was not valid.
// Returns nothing if a violation was added or the sampler is needed and not there.
std::optional<SkipTuning> ResolveSkipTuning(const v1::SkipTuning& tuning, const NetworkInfo& model,
                                            const SamplingParams* sampler, Violations& violations);

v1::SkipTuning ToProto(const SkipTuning& tuning);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_SKIP_TUNING_RESOLVER_H_
