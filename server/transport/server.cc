#include "server/transport/server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>

#include <chrono>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/transport/call_counter.h"
#include "server/transport/door.h"
#include "server/transport/generation_table.h"
#include "server/transport/image_generation_service.h"
#include "server/transport/listener.h"
#include "server/transport/model_control_service.h"
#include "server/transport/picture_limits.h"
#include "server/transport/readiness.h"
#include "server/transport/worker_pool.h"

namespace skipstream {
namespace {

constexpr int kMaxStreamsPerConnection = 1024;
// What gRPC may hold for requests that are still arriving and for answers not yet sent.
constexpr size_t kMaxTransportBytes = size_t{1} << 30;
// A dead client is noticed after half a minute of silence, also while it waits for its turn or has
// no call at all.
constexpr int kKeepaliveTimeMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// Clients may ping as often as that without being taken for an attack.
constexpr int kMinClientPingIntervalMs = 5'000;
// All metadata of a call together, tokens and traces included; more is RESOURCE_EXHAUSTED.
constexpr int kMaxMetadataBytes = 8 << 10;
// Whoever connects has to finish HTTP/2 and TLS greetings in this time.
constexpr int kHandshakeTimeoutMs = 20'000;
// When the server goes: until calls that never end by themselves (health watches, reflection) are
// cut off, and with them whatever has just arrived and is not refused yet.
constexpr auto kCancelGrace = std::chrono::seconds(1);

// Turns reflection on or off for one server; gRPC's own switch is the linking of its library.
class ReflectionOption final : public grpc::ServerBuilderOption {
 public:
  explicit ReflectionOption(bool enabled) : enabled_(enabled) {}

  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    auto reflection = std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>();
    std::erase_if(*plugins,
                  [&](const auto& plugin) { return plugin->name() == reflection->name(); });
    if (enabled_) plugins->push_back(std::move(reflection));
  }

 private:
  const bool enabled_;
};

}  // namespace

class Server::Impl {
 public:
  Impl(const Options& options, const Dependencies& dependencies)
      : dependencies_(dependencies),
        generations_(options.results, dependencies.clock, dependencies.metrics.result_cache_bytes),
        encoders_(options.encode_threads),
        readiness_(std::make_shared<Readiness>(dependencies.metrics.ready)),
        door_(dependencies.authenticator, dependencies.clock, dependencies.metrics,
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
                     .write_timeout = options.write_timeout,
                     .version = options.version},
                    door_),
        control_({.enabled = options.enable_model_control, .model_dir = options.model_dir},
                 dependencies.executor, dependencies.models, door_, dependencies.log) {
    credentials_ = dependencies.tls != nullptr ? dependencies.tls->MakeCredentials()
                                               : grpc::InsecureServerCredentials();
  }

  ~Impl() {
    if (server_ == nullptr) return;
    listener_ = nullptr;
    dependencies_.engine.SetHealthCallback(nullptr);
    server_->Shutdown(std::chrono::system_clock::now() + kCancelGrace);
    readiness_->Detach();
  }

  absl::Status Listen(const Options& options) {
    absl::StatusOr<std::unique_ptr<Listener>> listener =
        Listener::Open(options.listen, dependencies_.log);
    if (!listener.ok()) return listener.status();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    using FromWhat = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
    auto acceptor =
        builder.experimental().AddExternalConnectionAcceptor(FromWhat::FROM_FD, credentials_);
    builder.RegisterService(&generation_);
    builder.RegisterService(&control_);
    builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxRequestBytes));
    builder.SetResourceQuota(grpc::ResourceQuota("skipstream").Resize(kMaxTransportBytes));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kMinClientPingIntervalMs);
    builder.SetOption(std::make_unique<ReflectionOption>(options.reflection &&
                                                         dependencies_.authenticator.is_open()));
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::InternalError("gRPC's server does not start");
    listener_ = *std::move(listener);
    listener_->Start(std::move(acceptor));
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
  GenerationTable generations_;
  WorkerPool encoders_;
  const std::shared_ptr<Readiness> readiness_;
  const Door door_;
  ImageGenerationService generation_;
  ModelControlService control_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  // Last: gone before what its calls use.
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Listener> listener_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Options& options,
                                                      const Dependencies& dependencies) {
  // Protobuf would write a line for every message with text that is no UTF-8: whoever reaches the
  // port could fill the log. Such a call is refused like any other bytes that are no request.
  google::protobuf::SetLogHandler(nullptr);
  auto impl = std::make_unique<Impl>(options, dependencies);
  if (absl::Status status = impl->Listen(options); !status.ok()) return status;
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

int Server::port() const { return impl_->port(); }
void Server::BeginDrain() { impl_->BeginDrain(); }
int Server::WaitForCalls(absl::Duration timeout) { return impl_->WaitForCalls(timeout); }

}  // namespace skipstream
