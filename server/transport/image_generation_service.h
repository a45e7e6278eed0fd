#ifndef SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_
#define SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/transport/door.h"
#include "server/transport/generate_environment.h"
#include "skipstream/v1/image_generation.grpc.pb.h"

namespace skipstream {

// skipstream.v1.ImageGeneration on gRPC's threads; nothing here blocks. The methods are raw: who
// calls is known, and how much a message holds, before anything of it is read.
class ImageGenerationService final
    : public v1::ImageGeneration::WithRawCallbackMethod_Generate<
          v1::ImageGeneration::WithRawCallbackMethod_ListModels<
              v1::ImageGeneration::WithRawCallbackMethod_GetModel<v1::ImageGeneration::Service>>> {
 public:
  // `door` outlives the service.
  ImageGenerationService(GenerateEnvironment environment, const Door& door)
      : environment_(std::make_shared<const GenerateEnvironment>(std::move(environment))),
        door_(door) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* bytes,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* bytes,
                                     grpc::ByteBuffer* response) override;

 private:
  // Ends a Generate call that never became one, and counts it.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Refuse(const absl::Status& status) const;
  absl::StatusOr<v1::ListModelsResponse> ListModelsResult(
      const grpc::CallbackServerContext& context, const grpc::ByteBuffer& bytes) const;
  absl::StatusOr<v1::GetModelResponse> GetModelResult(const grpc::CallbackServerContext& context,
                                                      const grpc::ByteBuffer& bytes) const;

  const std::shared_ptr<const GenerateEnvironment> environment_;
  const Door& door_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_IMAGE_GENERATION_SERVICE_H_
