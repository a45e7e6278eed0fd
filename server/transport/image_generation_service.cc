#include "server/transport/image_generation_service.h"

#include <memory>
#include <string>

#include "server/transport/call_identity.h"
#include "server/transport/generate_call.h"
#include "server/transport/grpc_status.h"
#include "server/transport/model_description.h"
#include "server/transport/model_reference.h"
#include "server/transport/picture_limits.h"
#include "server/transport/raw_answer.h"
#include "server/transport/violations.h"
#include "server/transport/wire_limits.h"

namespace skipstream {
namespace {

// A call that ends before it is one.
class RefusedCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit RefusedCall(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ImageGenerationService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes) {
  absl::StatusOr<Caller> caller = door_.Enter(*context, Right::kGenerate, "Generate");
  if (!caller.ok()) return Refuse(caller.status());
  v1::GenerateRequest request;
  const absl::Status parsed = ParseBounded(*bytes, kMaxRequestBytes, request);
  // gRPC keeps its bytes until the call ends. A picture in them can be many times larger than what
  // becomes of it, so they go now; gRPC made them for this call alone.
  const_cast<grpc::ByteBuffer*>(bytes)->Clear();
  CallIdentity identity = IdentifyCall(*context, *std::move(caller), request.request_id());
  // Counted, not logged: whoever reaches the port could fill the log with bytes that mean nothing.
  if (!parsed.ok()) return Refuse(parsed);
  return StartGenerateCall(environment_, context, request, std::move(identity));
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ImageGenerationService::Refuse(
    const absl::Status& status) const {
  environment_->metrics.requests.With({"", "", StatusCodeName(status)}).Increment();
  return new RefusedCall(status);
}

absl::StatusOr<v1::ListModelsResponse> ImageGenerationService::ListModelsResult(
    const grpc::CallbackServerContext& context, const grpc::ByteBuffer& bytes) const {
  if (const auto caller = door_.Enter(context, Right::kAny, "ListModels"); !caller.ok()) {
    return caller.status();
  }
  v1::ListModelsRequest request;
  if (absl::Status parsed = ParseBounded(bytes, kMaxQueryBytes, request); !parsed.ok()) {
    return parsed;
  }
  Violations violations;
  violations.CheckNoUnknownFields(request);
  if (!violations.empty()) return violations.ToStatus();
  v1::ListModelsResponse response;
  const std::string default_name = environment_->models.default_name();
  for (const auto& model : environment_->models.List()) {
    *response.add_models() = SummarizeModel(*model, model->name() == default_name);
  }
  return response;
}

absl::StatusOr<v1::GetModelResponse> ImageGenerationService::GetModelResult(
    const grpc::CallbackServerContext& context, const grpc::ByteBuffer& bytes) const {
  if (const auto caller = door_.Enter(context, Right::kAny, "GetModel"); !caller.ok()) {
    return caller.status();
  }
  v1::GetModelRequest request;
  if (absl::Status parsed = ParseBounded(bytes, kMaxQueryBytes, request); !parsed.ok()) {
    return parsed;
  }
  Violations violations;
  violations.CheckNoUnknownFields(request);
  if (!request.model().empty()) {
    absl::Status name = ValidateModelName(request.model());
    if (!name.ok()) violations.Add("model", std::string(name.message()));
  }
  if (!violations.empty()) return violations.ToStatus();
  const ModelRegistry& models = environment_->models;
  const absl::StatusOr<std::shared_ptr<const LoadedModel>> model = models.Find(request.model());
  if (!model.ok()) return model.status();
  return DescribeModel(**model, (*model)->name() == models.default_name(), environment_->limits);
}

grpc::ServerUnaryReactor* ImageGenerationService::ListModels(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* bytes,
                                                             grpc::ByteBuffer* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  FinishWith(*reactor, ListModelsResult(*context, *bytes), *response);
  return reactor;
}

grpc::ServerUnaryReactor* ImageGenerationService::GetModel(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* bytes,
                                                           grpc::ByteBuffer* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  FinishWith(*reactor, GetModelResult(*context, *bytes), *response);
  return reactor;
}

}  // namespace skipstream
