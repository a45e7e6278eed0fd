#ifndef SKIPSTREAM_SERVER_RPC_IMAGE_GENERATION_SERVICE_H_
#define SKIPSTREAM_SERVER_RPC_IMAGE_GENERATION_SERVICE_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/generation/generate_environment.h"
#include "server/rpc/call_authorizer.h"
#include "server/rpc/call_router.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Serves skipstream.v1.ImageGeneration on gRPC's threads; nothing here blocks. The caller is
// identified before the message of the call is read, and the message's values are counted before it
// is parsed.
class ImageGenerationService {
 public:
  // `authorizer` outlives the service.
  ImageGenerationService(GenerateEnvironment environment, const CallAuthorizer& authorizer)
      : environment_(std::make_shared<const GenerateEnvironment>(std::move(environment))),
        authorizer_(authorizer) {}

  // The service outlives the router's server.
  void AddTo(CallRouter& router) const;

 private:
  v1::ListModelsResponse ListModels() const;
  absl::StatusOr<v1::GetModelResponse> GetModel(const v1::GetModelRequest& request) const;

  const std::shared_ptr<const GenerateEnvironment> environment_;
  const CallAuthorizer& authorizer_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_IMAGE_GENERATION_SERVICE_H_
