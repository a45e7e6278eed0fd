// Runs one Generate over all its attempts. Internal to the client library.
#ifndef SKIPSTREAM_CLIENT_CC_GENERATE_CALL_H_
#define SKIPSTREAM_CLIENT_CC_GENERATE_CALL_H_

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <mutex>
#include <optional>

#include "absl/random/random.h"
#include "client/cc/pending_images.h"
#include "client/cc/skipstream_client.h"

namespace skipstream::client {

void SetDeadline(grpc::ClientContext& context, const Deadline& deadline);

// Runs attempts one after another, without overlap. An attempt or the wait for the next one holds
// the only reference that keeps the call alive until `on_done` was called. State without a mutex
// belongs to whichever of them is running.
class GenerateCall : public GenerateHandle, public std::enable_shared_from_this<GenerateCall> {
 public:
  GenerateCall(std::shared_ptr<v1::ImageGeneration::Stub> stub, const RetryPolicy& policy,
               const CallMetadata& metadata, const v1::GenerateRequest& request,
               GenerateCallbacks callbacks, Client::DoneCallback on_done, Deadline deadline);

  void Start();
  // Ends the call with this error, as one that the server had refused. Called instead of Start().
  void Fail(const absl::Status& status);
  void Cancel() override;

 private:
  class Attempt;

  void StartAttempt();
  void HandleEvent(v1::GenerateEvent& event);
  void AttemptDone(const grpc::Status& grpc_status);
  void WaitThenRetry(absl::Duration wait);
  void Finish(const absl::Status& status);

  const std::shared_ptr<v1::ImageGeneration::Stub> stub_;
  const CallMetadata metadata_;
  const GenerateCallbacks callbacks_;
  const Client::DoneCallback on_done_;
  const Deadline deadline_;

  absl::BitGen random_;
  RetrySchedule retry_;
  std::optional<PendingImages> pending_;
  GenerateResult result_;
  bool completed_ = false;

  std::mutex mutex_;
  bool cancelled_ = false;             // guarded by mutex_
  std::shared_ptr<Attempt> attempt_;   // guarded by mutex_; null between attempts
  std::unique_ptr<grpc::Alarm> wait_;  // guarded by mutex_; null except between attempts
};

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_GENERATE_CALL_H_
