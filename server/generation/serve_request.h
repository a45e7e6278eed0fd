// Where the reader of a request gets its events from.
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

// At most one is set. Held while the reader reads; with a generation the reader has to leave it
// (Generation::Leave) when it is gone.
struct ServedBy {
  std::shared_ptr<Generation> generation = nullptr;
  std::shared_ptr<const FinishedGeneration> finished = nullptr;
};

// Gives `reader` all it will hear, an error included. A request with an id that `tenant` has used
// shortly before is served by what that call started or has left; every other one starts a
// generation of its own. The id is looked up before anything else is done: a retry is not refused
// for the load that its own first try makes, nor because the server is draining. `request_id` is
// what it is called if it is a new one: its own id, or one that was drawn.
ServedBy ServeRequest(const std::shared_ptr<const GenerateEnvironment>& environment,
                      const std::shared_ptr<const Tenant>& tenant, const std::string& request_id,
                      const v1::GenerateRequest& request,
                      const std::shared_ptr<Subscriber>& reader);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_SERVE_REQUEST_H_
