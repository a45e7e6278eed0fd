#include "server/rpc/image_generation_service.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/request/model_description.h"
#include "server/request/model_reference.h"
#include "server/request/violations.h"
#include "server/rpc/generate_call.h"
#include "server/rpc/unary_method.h"
#include "skipstream/v1/image_generation.grpc.pb.h"

namespace skipstream {

void ImageGenerationService::AddTo(CallRouter& router) const {
  const std::string service = absl::StrCat("/", v1::ImageGeneration::service_full_name(), "/");
  router.Add(service + "Generate", [this](grpc::CallbackServerContext* context) {
    absl::StatusOr<Caller> caller = authorizer_.Authorize(*context, Right::kGenerate, "Generate");
    if (!caller.ok()) {
      CountUnresolvedCall(*environment_, caller.status());
      return RefuseCall(caller.status());
    }
    return StartGenerateCall(environment_, context, *std::move(caller));
  });
  router.Add(service + "ListModels", [this](grpc::CallbackServerContext* context) {
    return HandleUnary<v1::ListModelsRequest>(
        authorizer_.Authorize(*context, Right::kAny, "ListModels"), environment_->request_timeout,
        [this](const Caller& /*caller*/, const v1::ListModelsRequest& request,
               const UnaryCall::Done& done) {
          Violations violations;
          violations.CheckNoUnknownFields(request);
          if (!violations.empty()) return done(violations.ToStatus());
          done(Serialized(ListModels()));
        });
  });
  router.Add(service + "GetModel", [this](grpc::CallbackServerContext* context) {
    return HandleUnary<v1::GetModelRequest>(
        authorizer_.Authorize(*context, Right::kAny, "GetModel"), environment_->request_timeout,
        [this](const Caller& /*caller*/, const v1::GetModelRequest& request,
               const UnaryCall::Done& done) { done(SerializedResult(GetModel(request))); });
  });
}

v1::ListModelsResponse ImageGenerationService::ListModels() const {
  v1::ListModelsResponse response;
  const std::string default_name = environment_->models.default_name();
  for (const auto& model : environment_->models.List()) {
    *response.add_models() = SummarizeModel(*model, model->name() == default_name);
  }
  return response;
}

absl::StatusOr<v1::GetModelResponse> ImageGenerationService::GetModel(
    const v1::GetModelRequest& request) const {
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

}  // namespace skipstream
