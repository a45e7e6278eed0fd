#ifndef SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_
#define SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/transport/call_router.h"
#include "server/transport/door.h"
#include "server/transport/generate_environment.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Serves skipstream.v1.ImageGeneration on gRPC's threads; nothing here blocks. A caller is known
// before the message of the call is read, and how much a message holds before it is parsed.
class ImageGenerationService {
 public:
  // `door` outlives the service.
  ImageGenerationService(GenerateEnvironment environment, const Door& door)
      : environment_(std::make_shared<const GenerateEnvironment>(std::move(environment))),
        door_(door) {}

  // The service outlives the router's server.
  void AddTo(CallRouter& router) const;

 private:
  v1::ListModelsResponse ListModels() const;
  absl::StatusOr<v1::GetModelResponse> GetModel(const v1::GetModelRequest& request) const;

  const std::shared_ptr<const GenerateEnvironment> environment_;
  const Door& door_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_
