// Calls a Skipstream server.
#ifndef SKIPSTREAM_CLIENT_CC_SKIPSTREAM_CLIENT_H_
#define SKIPSTREAM_CLIENT_CC_SKIPSTREAM_CLIENT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cc/connection.h"
#include "client/cc/deadline.h"
#include "client/cc/retry.h"
#include "client/cc/rpc_status.h"
#include "skipstream/v1/image_generation.grpc.pb.h"
#include "skipstream/v1/model_control.grpc.pb.h"

namespace grpc {
class Channel;
}

namespace skipstream::client {

// Receives events while images are made. Every callback is optional. They are called one at a time
// on a gRPC thread, so they should return soon and may not wait for a call of the same client.
// Image indexes and evaluation counts are those of the whole request, over all attempts.
struct GenerateCallbacks {
  // Called once per attempt.
  std::function<void(const v1::Accepted&)> on_accepted;
  std::function<void(const v1::Progress&)> on_progress;
  std::function<void(const v1::Preview&)> on_preview;
  // Called once per image, also when a retry made the server compute it again.
  std::function<void(const v1::Image&)> on_image;
  std::function<void(const v1::ImageFailure&)> on_image_failure;
  // Called when an attempt failed; the next one starts after `wait`.
  std::function<void(const absl::Status& why, absl::Duration wait)> on_retry;
};

struct GenerateResult {
  std::vector<v1::Image> images;           // by image_index; without those that failed
  std::vector<v1::ImageFailure> failures;  // by image_index
  // Result of the attempt that completed; its resolved request covers all `images`.
  v1::Completed completed;
  int attempts = 0;
  // The request's id, or the one drawn for it; empty if there was none and no retries.
  std::string request_id;
};

// Represents a running Generate. Dropping the handle neither cancels nor waits.
class GenerateHandle {
 public:
  virtual ~GenerateHandle() = default;
  // Stops the call here and on the server; it ends with CANCELLED unless it has ended already. Any
  // thread, any number of times.
  virtual void Cancel() = 0;
};

// Calls a server. All methods are thread-safe. Calls in progress keep the objects they use alive:
// the client may be destroyed before they end.
//
// Errors carry the server's google.rpc details, see rpc_status.h. Calls are retried as RetryPolicy
// says. Before the first attempt of Generate the client draws the seeds that the request leaves
// open, so that a retry makes the same images. It also draws the request_id, so that a retry gets
// the events of its first try. After images were delivered a retry asks for the missing ones only.
// If a request has an id but no seeds, they follow from that id: sent again by any client, it is
// the same request.
class Client {
 public:
  struct Options {
    // HOST:PORT or any gRPC target. Several addresses (ipv4:10.0.0.1:50051,10.0.0.2:50051, or
    // dns:///NAME with several records) are replicas that take requests in turn.
    std::string target = "localhost:50051";
    // If ValidateConnection() refuses these, every call fails with its status and nothing is sent.
    ConnectionOptions connection = {};
    RetryPolicy retry = {};
    // Limit of one message: a large raw image must fit.
    int max_message_bytes = 256 << 20;
  };

  explicit Client(const Options& options);
  ~Client();

  // Blocks until the request is done. `deadline` covers all attempts and the waits between them.
  absl::StatusOr<GenerateResult> Generate(const v1::GenerateRequest& request,
                                          GenerateCallbacks callbacks = {}, Deadline deadline = {});

  // Returns at once. `on_done` is called exactly once, after all other callbacks, on a gRPC thread.
  using DoneCallback = std::function<void(absl::StatusOr<GenerateResult>)>;
  std::shared_ptr<GenerateHandle> GenerateAsync(const v1::GenerateRequest& request,
                                                GenerateCallbacks callbacks, DoneCallback on_done,
                                                Deadline deadline = {});

  absl::StatusOr<v1::ListModelsResponse> ListModels(Deadline deadline = {});
  // An empty name means the default model.
  absl::StatusOr<v1::GetModelResponse> GetModel(const std::string& name, Deadline deadline = {});

  // Loads a file of the model directory of a server started with --enable_model_control. The model
  // is named `name` (empty: the file's name without its ending). With `replace` it replaces the
  // model of that name, if there is one; running requests finish on the old weights.
  absl::StatusOr<v1::LoadResponse> LoadModel(const std::string& file, const std::string& name,
                                             bool replace, Deadline deadline = {});
  // Stops offering a model; running requests finish.
  absl::Status UnloadModel(const std::string& name, Deadline deadline = {});

  // Asks grpc.health.v1 once, without retries. True if SERVING; NotFound for a service name the
  // server does not know.
  absl::StatusOr<bool> CheckHealth(const std::string& service, Deadline deadline = {});

 private:
  const Options options_;
  const absl::Status connection_status_;
  const CallMetadata metadata_;
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<v1::ImageGeneration::Stub> stub_;
  std::unique_ptr<v1::ModelControl::Stub> control_;
};

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_SKIPSTREAM_CLIENT_H_
