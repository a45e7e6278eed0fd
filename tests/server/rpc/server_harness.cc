#include "tests/server/rpc/server_harness.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "prometheus/text_serializer.h"

namespace skipstream {

std::vector<v1::Image> CallResult::Images() const {
  std::vector<v1::Image> images;
  for (const v1::GenerateEvent& event : events) {
    if (event.has_image()) images.push_back(event.image());
  }
  std::sort(images.begin(), images.end(),
            [](const auto& a, const auto& b) { return a.image_index() < b.image_index(); });
  return images;
}

OpenCall::OpenCall(v1::ImageGeneration::Stub& stub, const v1::GenerateRequest& request,
                   absl::Duration timeout) {
  context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  reader_ = stub.Generate(&context_, request);
}

v1::GenerateEvent OpenCall::Read() {
  v1::GenerateEvent event;
  EXPECT_TRUE(reader_->Read(&event)) << "the stream has ended";
  return event;
}

void OpenCall::Skip(int events) {
  v1::GenerateEvent event;
  while (events-- > 0 && reader_->Read(&event)) {
  }
}

v1::GenerateEvent OpenCall::ReadUntil(v1::GenerateEvent::EventCase kind) {
  v1::GenerateEvent event;
  while (reader_->Read(&event)) {
    if (event.event_case() == kind) return event;
  }
  ADD_FAILURE() << "the stream ended before event " << kind;
  return event;
}

CallResult OpenCall::Finish() {
  CallResult result;
  v1::GenerateEvent event;
  while (reader_->Read(&event)) result.events.push_back(event);
  result.status = reader_->Finish();
  return result;
}

std::unique_ptr<Authenticator> MakeAuthenticator(const std::string& auth_file) {
  if (auth_file.empty()) return std::make_unique<Authenticator>();
  return std::make_unique<Authenticator>(ParseAuthFile(auth_file).value());
}

ServerHarness::ServerHarness(Options options)
    : executor(options.executor),
      admission(options.admission),
      engine(options.engine, executor, clock, &metrics.engine),
      authenticator(MakeAuthenticator(options.auth_file)) {
  models.Add(LoadedModel::Load(executor, "fruit", "fruit.safetensors").value()).IgnoreError();
  server = Server::Start(options.server, ListeningSockets::Bind(options.listen).value(),
                         {.executor = executor,
                          .engine = engine,
                          .models = models,
                          .admission = admission,
                          .clock = clock,
                          .metrics = metrics.transport,
                          .draw_seed = options.draw_seed,
                          .authenticator = *authenticator,
                          .log = log.log(),
                          .tls = options.tls})
               .value();
  channel = NewChannel();
  stub = v1::ImageGeneration::NewStub(channel);
}

std::shared_ptr<grpc::Channel> ServerHarness::NewChannel() const {
  grpc::ChannelArguments arguments;
  // Its own connection, with its own flow control.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server->port()),
                                   grpc::InsecureChannelCredentials(), arguments);
}

grpc::Status ServerHarness::CallWithBytes(const std::string& method, const std::string& bytes,
                                          grpc::ClientContext& context) const {
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  // A separate queue, so that gRPC's client half of the call stays in this thread.
  grpc::CompletionQueue queue;
  const auto call = grpc::GenericStub(channel).PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok) && ok);
  return status;
}

std::string ServerHarness::Health(const std::string& service) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(channel)->Check(&context, request, &response);
  if (!status.ok()) return "";
  return grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
}

double ServerHarness::Metric(const std::string& name) const {
  std::istringstream lines(prometheus::TextSerializer().Serialize(registry->Collect()));
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name + " ", 0) == 0) return std::stod(line.substr(name.size() + 1));
  }
  return 0;
}

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

namespace {

template <typename Detail>
std::optional<Detail> FindDetail(const grpc::Status& status) {
  const google::rpc::Status details = DetailsOf(status);
  for (const google::protobuf::Any& any : details.details()) {
    Detail detail;
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

}  // namespace

std::string ReasonOf(const grpc::Status& status) {
  const auto info = FindDetail<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

bool HasRetryInfo(const grpc::Status& status) {
  return FindDetail<google::rpc::RetryInfo>(status).has_value();
}

std::vector<std::string> FieldsOf(const grpc::Status& status) {
  std::vector<std::string> fields;
  if (const auto bad_request = FindDetail<google::rpc::BadRequest>(status)) {
    for (const auto& violation : bad_request->field_violations()) {
      fields.push_back(violation.field());
    }
  }
  return fields;
}

}  // namespace skipstream
