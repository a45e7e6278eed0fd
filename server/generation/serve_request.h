// Serves a request from a new generation, a running one or a kept result.
#ifndef SKIPSTREAM_SERVER_GENERATION_SERVE_REQUEST_H_
#define SKIPSTREAM_SERVER_GENERATION_SERVE_REQUEST_H_

#include <memory>
#include <string>

#include "server/engine/tenant.h"
#include "server/generation/generate_environment.h"
#include "server/generation/generation.h"
#include "server/generation/idempotency_cache.h"
#include "server/generation/subscriber.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Names the source of a subscriber's events; at most one is set. The call holds it while it reads;
// it leaves a generation (Generation::Leave) when its client is gone.
struct ServedBy {
  std::shared_ptr<Generation> generation = nullptr;
  std::shared_ptr<const FinishedGeneration> finished = nullptr;
};

// Gives `reader` all its events, an error included. A request with an id that `tenant` has used
// shortly before gets the events of the generation or result that this id has. Every other request
// starts a new generation. The id is looked up before anything else is done. So a retry is refused
// neither for the load of its own first try, nor because the server is draining. `request_id` names
// a new request: its own id, or one that was drawn.
ServedBy ServeRequest(const std::shared_ptr<const GenerateEnvironment>& environment,
                      const std::shared_ptr<const Tenant>& tenant, const std::string& request_id,
                      const v1::GenerateRequest& request,
                      const std::shared_ptr<Subscriber>& reader);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_SERVE_REQUEST_H_
