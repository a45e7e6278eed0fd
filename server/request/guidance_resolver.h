// Resolves the `guidance` field of a request.
#ifndef SKIPSTREAM_SERVER_REQUEST_GUIDANCE_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_GUIDANCE_RESOLVER_H_

#include <memory>
#include <optional>

#include "model/diffusion/sampler.h"
#include "model/network_info.h"
#include "server/engine/model_registry.h"
#include "server/request/model_reference.h"
#include "server/request/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Returns true if the model can denoise without its class, so that it needs no second model for
// guidance.
bool SupportsGuidance(const NetworkInfo& model);

// Returns the reference to the guide that a request names.
ModelReference GuideReference(const v1::Guidance& guidance);

// Fills in the defaults. `guide` is the model that guide_model names, null if it names none.
// Returns nothing if a violation was added.
std::optional<Guidance> ResolveGuidance(const v1::Guidance& guidance, const NetworkInfo& model,
                                        const LoadedModel* guide, Violations& violations);

// Adds a violation if the plan evaluates the guide at a noise level it does not know, or gives it
// one.
void CheckGuideLevels(const SamplingPlan& plan, const NetworkInfo& guide, Violations& violations);

// Returns true if any evaluation could have a second term.
inline bool IsGuided(const Guidance& guidance) { return guidance.scale != 1.0; }

// Returns the field of resolved guidance; `guide` as above. The guidance must be on.
v1::Guidance ToProto(const Guidance& guidance, const LoadedModel* guide);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_GUIDANCE_RESOLVER_H_
