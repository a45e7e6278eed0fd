#ifndef SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_
#define SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_

#include <memory>
#include <utility>

#include "server/transport/generate_environment.h"
#include "skipstream/v1/image_generation.grpc.pb.h"

namespace skipstream {

// skipstream.v1.ImageGeneration on gRPC's threads; nothing here blocks.
class ImageGenerationService final : public v1::ImageGeneration::CallbackService {
 public:
  explicit ImageGenerationService(GenerateEnvironment environment)
      : environment_(std::make_shared<const GenerateEnvironment>(std::move(environment))) {}

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;

 private:
  const std::shared_ptr<const GenerateEnvironment> environment_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_
