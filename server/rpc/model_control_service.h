#ifndef SKIPSTREAM_SERVER_RPC_MODEL_CONTROL_SERVICE_H_
#define SKIPSTREAM_SERVER_RPC_MODEL_CONTROL_SERVICE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/worker_pool.h"
#include "model/executor.h"
#include "server/engine/model_registry.h"
#include "server/log/event_log.h"
#include "server/rpc/call_authorizer.h"
#include "server/rpc/call_router.h"
#include "skipstream/v1/model_control.pb.h"

namespace skipstream {

// Serves skipstream.v1.ModelControl, as ImageGenerationService does its service. Files are read on
// a separate thread, one after the other: gRPC's threads never wait for a disk, and of two loads of
// one name one comes first. Nothing is offered before its file was verified. Everything passed in
// outlives the service.
class ModelControlService {
 public:
  struct Options {
    // A call ends if its message is not whole after this time.
    absl::Duration request_timeout = absl::InfiniteDuration();
    // False: every call is PERMISSION_DENIED. True: callers need the right "control".
    bool enabled = false;
    std::string model_dir;  // the only directory files are loaded from
  };

  ModelControlService(const Options& options, Executor& executor, ModelRegistry& models,
                      const CallAuthorizer& authorizer, const EventLog& log);

  // The service outlives the router's server.
  void AddTo(CallRouter& router);

 private:
  // Returns the caller if they have the right.
  absl::StatusOr<Caller> Enter(const grpc::CallbackServerContext& context,
                               const char* method) const;
  // Logs the outcome of an operation of this tenant.
  void Log(const char* operation, const std::string& tenant, const std::string& file,
           const std::string& name, const absl::Status& status) const;
  absl::StatusOr<v1::LoadResponse> LoadModel(const v1::LoadRequest& request);
  absl::StatusOr<v1::UnloadResponse> UnloadModel(const v1::UnloadRequest& request);

  const Options options_;
  Executor& executor_;
  ModelRegistry& models_;
  const CallAuthorizer& authorizer_;
  const EventLog& log_;
  WorkerPool loader_{1};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_MODEL_CONTROL_SERVICE_H_
