#include "bench/overhead/loopback_server.h"

#include <spdlog/sinks/null_sink.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "client/cc/skipstream_client.h"
#include "prometheus/registry.h"
#include "server/engine/admission.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/rpc/server.h"
#include "server/security/authenticator.h"

namespace skipstream::bench {
namespace {

v1::GenerateRequest ToProto(const LoopbackServer::Request& request) {
  v1::GenerateRequest proto;
  proto.add_seeds(request.seed);
  proto.add_classes()->set_index(request.class_index);
  proto.mutable_sampler()->set_solver(v1::SOLVER_HEUN);
  proto.mutable_sampler()->set_nfe(request.nfe);
  proto.mutable_output()->set_format(
      request.format == LoopbackServer::Format::kPng ? v1::IMAGE_FORMAT_PNG : v1::IMAGE_FORMAT_RAW);
  return proto;
}

}  // namespace

// Put together as the server's main() does. Members are destroyed from the last to the first.
class LoopbackServer::Impl {
 public:
  explicit Impl(Executor& executor)
      : metrics_(registry_),
        models_(&metrics_.models),
        // As large as the loop's, whatever is worth while.
        engine_({.max_batch = executor.max_batch()}, executor, clock_, &metrics_.engine),
        admission_(Admission::Options()) {}

  absl::Status Start(Executor& executor, std::shared_ptr<const LoadedModel> model) {
    if (absl::Status status = models_.Add(std::move(model)); !status.ok()) return status;
    absl::StatusOr<ListeningSockets> sockets = ListeningSockets::Bind("127.0.0.1:0");
    if (!sockets.ok()) return sockets.status();
    Server::Options options;
    options.version = "bench";
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options, *std::move(sockets),
                                                                   {.executor = executor,
                                                                    .engine = engine_,
                                                                    .models = models_,
                                                                    .admission = admission_,
                                                                    .clock = clock_,
                                                                    .metrics = metrics_.transport,
                                                                    .draw_seed = [] { return 0u; },
                                                                    .authenticator = authenticator_,
                                                                    .log = log_});
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    client::Client::Options client_options;
    client_options.target = absl::StrCat("127.0.0.1:", server_->port());
    client_options.retry.max_attempts = 1;  // a retry would be measured as a slow server
    client_.emplace(client_options);
    return absl::OkStatus();
  }

  client::Client& client() { return *client_; }

 private:
  prometheus::Registry registry_;
  ServerMetrics metrics_;
  RealClock clock_;
  ModelRegistry models_;
  EngineThread engine_;
  Admission admission_;
  const Authenticator authenticator_;  // lets everybody in
  const EventLog log_{std::make_shared<spdlog::sinks::null_sink_mt>(), LogFormat::kText,
                      spdlog::level::off};
  std::unique_ptr<Server> server_;
  std::optional<client::Client> client_;
};

LoopbackServer::LoopbackServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoopbackServer::~LoopbackServer() = default;

absl::StatusOr<std::unique_ptr<LoopbackServer>> LoopbackServer::Start(Executor& executor,
                                                                      const std::string& model_path,
                                                                      absl::Duration warm_up) {
  absl::StatusOr<std::shared_ptr<const LoadedModel>> model =
      LoadedModel::Load(executor, "model", model_path);
  if (!model.ok()) return model.status();
  absl::StatusOr<std::vector<BucketTiming>> profile = executor.WarmUp((*model)->network(), warm_up);
  if (!profile.ok()) return profile.status();
  if (absl::Status set = (*model)->cost().SetProfile(*profile); !set.ok()) return set;
  auto impl = std::make_unique<Impl>(executor);
  if (absl::Status status = impl->Start(executor, *std::move(model)); !status.ok()) return status;
  return std::unique_ptr<LoopbackServer>(new LoopbackServer(std::move(impl)));
}

absl::StatusOr<std::vector<LoopbackServer::Reply>> LoopbackServer::Generate(
    const std::vector<Request>& requests) {
  // Written by the call's own callbacks; read after `done` has counted the last of them.
  struct Call {
    absl::Duration to_first_image = absl::InfiniteDuration();
    absl::StatusOr<client::GenerateResult> result;
  };
  std::vector<Call> calls(requests.size());
  absl::BlockingCounter done(static_cast<int>(requests.size()));
  for (size_t i = 0; i < requests.size(); ++i) {
    Call& call = calls[i];
    client::GenerateCallbacks callbacks;
    callbacks.on_image = [&call, start = absl::Now()](const v1::Image&) {
      call.to_first_image = absl::Now() - start;
    };
    impl_->client().GenerateAsync(ToProto(requests[i]), std::move(callbacks),
                                  [&](absl::StatusOr<client::GenerateResult> result) {
                                    call.result = std::move(result);
                                    done.DecrementCount();
                                  });
  }
  done.Wait();
  std::vector<Reply> replies;
  for (Call& call : calls) {
    if (!call.result.ok()) return call.result.status();
    if (call.result->images.size() != 1) return absl::InternalError("the call made no image");
    replies.push_back(
        {.to_first_image = call.to_first_image,
         .image = std::move(*call.result->images[0].mutable_picture()->mutable_data())});
  }
  return replies;
}

}  // namespace skipstream::bench
