// Runs the gRPC server: services, health, reflection, drain. Free of gRPC's headers.
#ifndef SKIPSTREAM_SERVER_RPC_SERVER_H_
#define SKIPSTREAM_SERVER_RPC_SERVER_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "model/executor.h"
#include "server/engine/admission.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/generation/idempotency_cache.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/net/listening_sockets.h"
#include "server/request/request_limits.h"
#include "server/request/request_resolver.h"
#include "server/security/authenticator.h"
#include "server/security/tls.h"

namespace skipstream {

// Serves from Start() until it is destroyed. A drain, in this order:
//   BeginDrain()       not ready; new Generate calls are UNAVAILABLE (reason DRAINING)
//   WaitForCalls()     accepted calls, queued or running, go on to their end
//   destroy            the remaining calls are cancelled
// All methods are thread-safe.
class Server {
 public:
  struct Options {
    std::string version;  // sent to clients and written into images
    RequestLimits limits = {};
    // Connections beyond are closed at once.
    int max_connections = 16'384;
    int encode_threads = 1;
    // Bound of the finished events that wait for a slow client, per call. Past it the call is
    // RESOURCE_EXHAUSTED.
    size_t max_outbox_bytes = size_t{64} << 20;
    // Memory that gRPC may hold for requests that are still arriving and for answers not yet sent.
    // Past it, connections are reset.
    size_t max_transport_bytes = size_t{256} << 20;
    // A call whose request is not whole this long after its headers ends with DEADLINE_EXCEEDED.
    absl::Duration request_timeout = absl::Seconds(60);
    // Bounds of the results that are kept for retries.
    IdempotencyCache::Options results = {};
    // A client that takes nothing for this long has its call cancelled.
    absl::Duration write_timeout = absl::Seconds(60);
    bool enable_model_control = false;
    std::string model_dir = {};
    // Used without tokens only: it is gRPC's own kind of service and asks for none.
    bool reflection = true;
  };
  // Holds objects that outlive the server. `models` holds at least one.
  struct Dependencies {
    Executor& executor;
    EngineThread& engine;
    ModelRegistry& models;
    Admission& admission;
    const Clock& clock;
    TransportMetrics& metrics;
    SeedSource draw_seed;
    const Authenticator& authenticator;
    const EventLog& log;
    TlsIdentity* tls = nullptr;  // null: connections are not encrypted
  };

  // Serves on `sockets`, which refuse connections until then. Takes over the engine's health
  // callback. Unavailable if another program listens on the port meanwhile.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Options& options,
                                                       ListeningSockets sockets,
                                                       const Dependencies& dependencies);
  ~Server();

  int port() const;

  void BeginDrain();
  // Blocks until every accepted call has ended or `timeout` has passed; returns the number of calls
  // left.
  int WaitForCalls(absl::Duration timeout);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_SERVER_H_
