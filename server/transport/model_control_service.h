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

// skipstream.v1.ModelControl. Files are read on a thread of its own, one after the other, so that
// gRPC's threads never wait for a disk and of two loads of one name one comes first. Nothing is
// offered before its file was verified. Everything passed in outlives the service.
class ModelControlService final : public v1::ModelControl::CallbackService {
 public:
  struct Options {
    // Otherwise every call is PERMISSION_DENIED. If so, callers need the right "control".
    bool enabled = false;
    std::string model_dir;  // the only directory files are loaded from
  };

  ModelControlService(const Options& options, StepExecutor& executor, ModelRegistry& models,
                      const Door& door, const EventLog& log);

  grpc::ServerUnaryReactor* Load(grpc::CallbackServerContext* context,
                                 const v1::LoadRequest* request,
                                 v1::LoadResponse* response) override;
  grpc::ServerUnaryReactor* Unload(grpc::CallbackServerContext* context,
                                   const v1::UnloadRequest* request,
                                   v1::UnloadResponse* response) override;

 private:
  // Whether the call may go on.
  absl::StatusOr<Caller> Enter(const grpc::CallbackServerContext& context,
                               const char* method) const;
  // Logs how an operation ended, and passes it on to gRPC.
  grpc::Status Ended(const Caller& caller, const char* operation, const std::string& file,
                     const std::string& name, const absl::Status& status) const;
  absl::Status LoadModel(const v1::LoadRequest& request, v1::LoadResponse& response);
  absl::Status UnloadModel(const v1::UnloadRequest& request);

  const Options options_;
  StepExecutor& executor_;
  ModelRegistry& models_;
  const Door& door_;
  const EventLog& log_;
  WorkerPool loader_{1};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_MODEL_CONTROL_SERVICE_H_
