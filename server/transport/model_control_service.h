#ifndef SKIPSTREAM_SERVER_TRANSPORT_MODEL_CONTROL_SERVICE_H_
#define SKIPSTREAM_SERVER_TRANSPORT_MODEL_CONTROL_SERVICE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/step_executor.h"
#include "server/engine/model_registry.h"
#include "server/log/event_log.h"
#include "server/transport/door.h"
#include "server/transport/worker_pool.h"
#include "skipstream/v1/model_control.grpc.pb.h"

namespace skipstream {

// skipstream.v1.ModelControl. Its methods are raw, as ImageGenerationService's. Files are read on a
// thread of its own, one after the other, so that gRPC's threads never wait for a disk and of two
// loads of one name one comes first. Nothing is offered before its file was verified. Everything
// passed in outlives the service.
class ModelControlService final
    : public v1::ModelControl::WithRawCallbackMethod_Load<
          v1::ModelControl::WithRawCallbackMethod_Unload<v1::ModelControl::Service>> {
 public:
  struct Options {
    // Otherwise every call is PERMISSION_DENIED. If so, callers need the right "control".
    bool enabled = false;
    std::string model_dir;  // the only directory files are loaded from
  };

  ModelControlService(const Options& options, StepExecutor& executor, ModelRegistry& models,
                      const Door& door, const EventLog& log);

  grpc::ServerUnaryReactor* Load(grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* bytes,
                                 grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Unload(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* bytes,
                                   grpc::ByteBuffer* response) override;

 private:
  template <typename Request>
  struct Call {
    Caller caller;
    Request request;
  };

  // Who calls, and what with, if the call may go on.
  template <typename Request>
  absl::StatusOr<Call<Request>> Enter(const grpc::CallbackServerContext& context,
                                      const char* method, const grpc::ByteBuffer& bytes) const;
  // How an operation of this tenant ended.
  void Log(const char* operation, const std::string& tenant, const std::string& file,
           const std::string& name, const absl::Status& status) const;
  absl::StatusOr<v1::LoadResponse> LoadModel(const v1::LoadRequest& request);
  absl::StatusOr<v1::UnloadResponse> UnloadModel(const v1::UnloadRequest& request);

  const Options options_;
  StepExecutor& executor_;
  ModelRegistry& models_;
  const Door& door_;
  const EventLog& log_;
  WorkerPool loader_{1};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_MODEL_CONTROL_SERVICE_H_
