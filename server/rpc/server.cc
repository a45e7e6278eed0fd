#include "server/rpc/server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/call_counter.h"
#include "base/worker_pool.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/generation/idempotency_cache.h"
#include "server/request/image_limits.h"
#include "server/rpc/call_authorizer.h"
#include "server/rpc/call_router.h"
#include "server/rpc/image_generation_service.h"
#include "server/rpc/model_control_service.h"
#include "server/rpc/readiness.h"
#include "server/rpc/reflection_service.h"
#include "server/rpc/workarounds/listener.h"
#include "skipstream/v1/image_generation.grpc.pb.h"
#include "skipstream/v1/model_control.grpc.pb.h"

namespace skipstream {
namespace {

constexpr int kMaxStreamsPerConnection = 1024;
// Limits the threads that gRPC starts for one server. Its callbacks need about one per core.
constexpr int kMaxTransportThreads = 1024;
// A dead client is noticed after half a minute of silence, also while it waits for its turn or has
// no call at all.
constexpr int kKeepaliveTimeMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// Clients may ping at this interval without being taken for an attack.
constexpr int kMinClientPingIntervalMs = 5'000;
// All metadata of a call together, tokens and traces included; more is RESOURCE_EXHAUSTED.
constexpr int kMaxMetadataBytes = 8 << 10;
// Limits the time in which a connection has to finish its HTTP/2 and TLS handshakes.
constexpr int kHandshakeTimeoutMs = 20'000;
// Seconds from the server's end until calls that never end by themselves (health watches,
// reflection) are cut off. Calls that have just arrived and are not refused yet are cut off too.
constexpr int kCancelGraceSeconds = 1;

}  // namespace

class Server::Impl {
 public:
  Impl(const Options& options, const Dependencies& dependencies)
      : dependencies_(dependencies),
        generations_(options.results, dependencies.clock, dependencies.metrics.result_cache_bytes),
        encoders_(options.encode_threads),
        readiness_(std::make_shared<Readiness>(dependencies.metrics.ready)),
        authorizer_(dependencies.authenticator, dependencies.clock, dependencies.metrics,
                    dependencies.log),
        generation_({.models = dependencies.models,
                     .admission = dependencies.admission,
                     .engine = dependencies.engine,
                     .encoders = encoders_,
                     .clock = dependencies.clock,
                     .metrics = dependencies.metrics,
                     .calls = calls_,
                     .generations = generations_,
                     .log = dependencies.log,
                     .draw_seed = dependencies.draw_seed,
                     .limits = options.limits,
                     .max_outbox_bytes = options.max_outbox_bytes,
                     .request_timeout = options.request_timeout,
                     .write_timeout = options.write_timeout,
                     .version = options.version},
                    authorizer_),
        control_({.request_timeout = options.request_timeout,
                  .enabled = options.enable_model_control,
                  .model_dir = options.model_dir},
                 dependencies.executor, dependencies.models, authorizer_, dependencies.log),
        reflection_({v1::ImageGeneration::service_full_name(),
                     v1::ModelControl::service_full_name(),
                     grpc::health::v1::Health::service_full_name()}) {
    generation_.AddTo(router_);
    control_.AddTo(router_);
    // Only without tokens: it would answer anybody.
    if (options.reflection && dependencies.authenticator.is_open()) reflection_.AddTo(router_);
    credentials_ = dependencies.tls != nullptr ? dependencies.tls->MakeCredentials()
                                               : grpc::InsecureServerCredentials();
  }

  ~Impl() {
    if (server_ == nullptr) return;
    listener_ = nullptr;
    dependencies_.engine.SetHealthCallback(nullptr);
    server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                   gpr_time_from_seconds(kCancelGraceSeconds, GPR_TIMESPAN)));
    readiness_->Detach();
  }

  absl::Status Listen(const Options& options, ListeningSockets sockets) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    using FromWhat = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
    auto acceptor =
        builder.experimental().AddExternalConnectionAcceptor(FromWhat::FROM_FD, credentials_);
    builder.RegisterCallbackGenericService(&router_);
    builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxRequestBytes));
    // Compressed requests are UNIMPLEMENTED: gRPC would unpack them before it looks at their size.
    for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
      builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
    }
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    builder.SetResourceQuota(grpc::ResourceQuota("skipstream")
                                 .Resize(options.max_transport_bytes)
                                 .SetMaxThreads(kMaxTransportThreads));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kMinClientPingIntervalMs);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::InternalError("gRPC's server does not start");
    listener_ =
        std::make_unique<Listener>(std::move(sockets), options.max_connections, dependencies_.log);
    if (absl::Status status = listener_->Start(std::move(acceptor)); !status.ok()) return status;
    readiness_->Attach(server_->GetHealthCheckService(), dependencies_.engine.healthy());
    // The engine's thread may be in the callback while this object goes: it holds its own
    // reference.
    dependencies_.engine.SetHealthCallback(
        [readiness = readiness_](bool healthy) { readiness->SetEngineHealthy(healthy); });
    return absl::OkStatus();
  }

  int port() const { return listener_->port(); }

  void BeginDrain() {
    readiness_->StartDraining();
    dependencies_.admission.Close();
  }

  int WaitForCalls(absl::Duration timeout) { return calls_.WaitForNone(timeout); }

 private:
  const Dependencies dependencies_;
  CallCounter calls_;
  IdempotencyCache generations_;
  WorkerPool encoders_;
  const std::shared_ptr<Readiness> readiness_;
  const CallAuthorizer authorizer_;
  ImageGenerationService generation_;
  ModelControlService control_;
  ReflectionService reflection_;
  CallRouter router_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  // Last: gone before what its calls use.
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Listener> listener_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Options& options,
                                                      ListeningSockets sockets,
                                                      const Dependencies& dependencies) {
  // Protobuf would write a line for every message with text that is no UTF-8: any client that
  // reaches the port could fill the log. Such a call is refused like any other bytes that are no
  // request.
  google::protobuf::SetLogHandler(nullptr);
  auto impl = std::make_unique<Impl>(options, dependencies);
  if (absl::Status status = impl->Listen(options, std::move(sockets)); !status.ok()) return status;
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

int Server::port() const { return impl_->port(); }
void Server::BeginDrain() { impl_->BeginDrain(); }
int Server::WaitForCalls(absl::Duration timeout) { return impl_->WaitForCalls(timeout); }

}  // namespace skipstream
