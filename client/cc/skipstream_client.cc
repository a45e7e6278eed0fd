#include "client/cc/skipstream_client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "absl/random/random.h"
#include "client/cc/generate_call.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace skipstream::client {
namespace {

std::shared_ptr<grpc::Channel> MakeChannel(const Client::Options& options) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(options.max_message_bytes);
  args.SetMaxSendMessageSize(options.max_message_bytes);
  // A target with several addresses is several replicas: requests go to them in turn, and a retry
  // to one that answers.
  args.SetServiceConfigJSON(R"({"loadBalancingConfig": [{"round_robin": {}}]})");
  // Retrying is ours (RetryPolicy); the channel only has to reconnect as fast as we come back.
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // In spite of its name the time that making a connection may take; a busy or distant server needs
  // more than a moment.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  // Only what is not compressed is taken: gRPC unpacks a message before it looks at its size.
  args.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  args.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  // An http_proxy variable is meant for the web, not for a model server, often on this machine.
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(options.target,
                                   MakeCredentials(options.target, options.connection), args);
}

// gRPC's callback threads belong to all channels and servers of the process together; whichever is
// released last stops them and waits for them. A call whose client is gone releases its channel on
// such a thread, which would then wait for itself and go on with a queue that is deleted. A channel
// that is never released (it leads nowhere) keeps the threads.
void KeepCallbackThreads() {
  struct Call {
    grpc::ClientContext context;
    v1::ListModelsRequest request;
    v1::ListModelsResponse response;
  };
  // Used: the compiler may leave out what is never read, and checkers would call it a leak.
  [[gnu::used]] static const v1::ImageGeneration::Stub* const stub = [] {
    // Without credentials every call fails at once; the first one starts the threads.
    auto* leads_nowhere =
        v1::ImageGeneration::NewStub(grpc::CreateChannel("", /*creds=*/nullptr)).release();
    auto call = std::make_shared<Call>();
    leads_nowhere->async()->ListModels(&call->context, &call->request, &call->response,
                                       [call](const grpc::Status&) {});
    return leads_nowhere;
  }();
}

// Calls `attempt(context, response)` until it succeeds or the policy gives up.
template <typename Response, typename Attempt>
absl::StatusOr<Response> CallWithRetries(const RetryPolicy& policy, const CallMetadata& metadata,
                                         Deadline deadline, Attempt attempt) {
  RetrySchedule retry(policy);
  absl::BitGen random;
  for (;;) {
    grpc::ClientContext context;
    SetDeadline(context, deadline);
    AddMetadata(context, metadata);
    Response response;
    absl::Status status = FromGrpcStatus(attempt(context, response));
    if (status.ok()) return response;
    const auto wait = retry.NextWait(status, absl::Uniform(random, 0.0, 1.0));
    if (!wait || *wait >= deadline.Left()) return status;
    std::this_thread::sleep_for(absl::ToChronoNanoseconds(*wait));
  }
}

}  // namespace

Client::Client(const Options& options)
    : options_(options),
      connection_status_(ValidateConnection(options.target, options.connection)),
      metadata_(MakeCallMetadata(options.connection)),
      channel_(MakeChannel(options)),
      stub_(v1::ImageGeneration::NewStub(channel_)),
      control_(v1::ModelControl::NewStub(channel_)) {
  KeepCallbackThreads();
}

Client::~Client() = default;

absl::StatusOr<GenerateResult> Client::Generate(const v1::GenerateRequest& request,
                                                GenerateCallbacks callbacks, Deadline deadline) {
  std::promise<absl::StatusOr<GenerateResult>> done;
  GenerateAsync(
      request, std::move(callbacks),
      [&done](absl::StatusOr<GenerateResult> result) { done.set_value(std::move(result)); },
      deadline);
  return done.get_future().get();
}

std::shared_ptr<GenerateHandle> Client::GenerateAsync(const v1::GenerateRequest& request,
                                                      GenerateCallbacks callbacks,
                                                      DoneCallback on_done, Deadline deadline) {
  auto call = std::make_shared<GenerateCall>(stub_, options_.retry, metadata_, request,
                                             std::move(callbacks), std::move(on_done), deadline);
  if (!connection_status_.ok()) {
    call->Fail(connection_status_);
    return call;
  }
  call->Start();
  return call;
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels(Deadline deadline) {
  if (!connection_status_.ok()) return connection_status_;
  return CallWithRetries<v1::ListModelsResponse>(
      options_.retry, metadata_, deadline,
      [this](grpc::ClientContext& context, v1::ListModelsResponse& response) {
        return stub_->ListModels(&context, v1::ListModelsRequest(), &response);
      });
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel(const std::string& name, Deadline deadline) {
  if (!connection_status_.ok()) return connection_status_;
  v1::GetModelRequest request;
  request.set_model(name);
  return CallWithRetries<v1::GetModelResponse>(
      options_.retry, metadata_, deadline,
      [this, &request](grpc::ClientContext& context, v1::GetModelResponse& response) {
        return stub_->GetModel(&context, request, &response);
      });
}

absl::StatusOr<v1::LoadResponse> Client::LoadModel(const std::string& file, const std::string& name,
                                                   bool replace, Deadline deadline) {
  if (!connection_status_.ok()) return connection_status_;
  v1::LoadRequest request;
  request.set_file(file);
  request.set_name(name);
  request.set_replace(replace);
  return CallWithRetries<v1::LoadResponse>(
      options_.retry, metadata_, deadline,
      [this, &request](grpc::ClientContext& context, v1::LoadResponse& response) {
        return control_->Load(&context, request, &response);
      });
}

absl::Status Client::UnloadModel(const std::string& name, Deadline deadline) {
  if (!connection_status_.ok()) return connection_status_;
  v1::UnloadRequest request;
  request.set_name(name);
  return CallWithRetries<v1::UnloadResponse>(
             options_.retry, metadata_, deadline,
             [this, &request](grpc::ClientContext& context, v1::UnloadResponse& response) {
               return control_->Unload(&context, request, &response);
             })
      .status();
}

absl::StatusOr<bool> Client::CheckHealth(const std::string& service, Deadline deadline) {
  if (!connection_status_.ok()) return connection_status_;
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(channel_)->Check(&context, request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
}

}  // namespace skipstream::client
