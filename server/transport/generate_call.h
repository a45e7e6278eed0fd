// One Generate RPC from its first byte to its last.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_
#define SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <memory>
#include <string>

#include "server/engine/admission.h"
#include "server/engine/clock.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/transport/call_counter.h"
#include "server/transport/call_identity.h"
#include "server/transport/request_limits.h"
#include "server/transport/request_resolver.h"
#include "server/transport/worker_pool.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// What every call needs. Everything referred to outlives the RPCs; `clock` and `metrics` also the
// pool, where a picture may still be in the making when its RPC has ended.
struct GenerateEnvironment {
  const ModelRegistry& models;
  Admission& admission;
  EngineThread& engine;
  WorkerPool& encoders;
  const Clock& clock;
  TransportMetrics& metrics;
  CallCounter& calls;
  const EventLog& log;
  SeedSource draw_seed;
  RequestLimits limits;
  size_t max_outbox_bytes = 0;
  std::string version;
};

// Handles the RPC: resolves and admits the request, submits it to the engine, encodes its pictures
// on the pool, streams its events (serialized, as in raw methods) and logs how it ended. The
// reactor belongs to gRPC and deletes itself; `request` is needed no longer than this function
// runs.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    const v1::GenerateRequest& request, CallIdentity identity);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_
