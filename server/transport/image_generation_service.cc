#include "server/transport/image_generation_service.h"

#include <memory>
#include <string>

#include "server/transport/generate_call.h"
#include "server/transport/grpc_status.h"
#include "server/transport/model_description.h"
#include "server/transport/model_reference.h"
#include "server/transport/violations.h"

namespace skipstream {
namespace {

absl::Status GetModelResult(const v1::GetModelRequest& request, const ModelRegistry& models,
                            const RequestLimits& limits, v1::GetModelResponse& response) {
  Violations violations;
  violations.CheckNoUnknownFields(request);
  if (!request.model().empty()) {
    absl::Status name = ValidateModelName(request.model());
    if (!name.ok()) violations.Add("model", std::string(name.message()));
  }
  if (!violations.empty()) return violations.ToStatus();
  const absl::StatusOr<std::shared_ptr<const LoadedModel>> model = models.Find(request.model());
  if (!model.ok()) return model.status();
  response = DescribeModel(**model, (*model)->name() == models.default_name(), limits);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerWriteReactor<v1::GenerateEvent>* ImageGenerationService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return StartGenerateCall(environment_, context, request, std::make_shared<const Tenant>());
}

grpc::ServerUnaryReactor* ImageGenerationService::ListModels(grpc::CallbackServerContext* context,
                                                             const v1::ListModelsRequest* request,
                                                             v1::ListModelsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Violations violations;
  violations.CheckNoUnknownFields(*request);
  if (!violations.empty()) {
    reactor->Finish(ToGrpcStatus(violations.ToStatus()));
    return reactor;
  }
  const std::string default_name = environment_->models.default_name();
  for (const auto& model : environment_->models.List()) {
    *response->add_models() = SummarizeModel(*model, model->name() == default_name);
  }
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* ImageGenerationService::GetModel(grpc::CallbackServerContext* context,
                                                           const v1::GetModelRequest* request,
                                                           v1::GetModelResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(
      GetModelResult(*request, environment_->models, environment_->limits, *response)));
  return reactor;
}

}  // namespace skipstream
