#ifndef SKIPSTREAM_SERVER_RPC_REQUEST_REACTOR_H_
#define SKIPSTREAM_SERVER_RPC_REQUEST_REACTOR_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/rpc/workarounds/callback_order.h"
#include "server/rpc/write_watchdog.h"

namespace skipstream {

// Ends a call at once, without reading its message.
grpc::ServerGenericBidiReactor* RefuseCall(const absl::Status& status);

// Reads the one message of a call. A call whose message is not whole after `timeout` ends with
// DEADLINE_EXCEEDED. Subclasses call ReadRequest last in their construction, and delete themselves
// in OnDone after StopReading.
class RequestReactor : public grpc::ServerGenericBidiReactor {
 protected:
  explicit RequestReactor(absl::Duration timeout);

  void ReadRequest();

  // Called once with the message unless the call has timed out. The buffer is not valid if the
  // client ended the call without a whole message. Ends the call, now or later.
  virtual void OnRequest(const grpc::ByteBuffer& bytes) = 0;
  // Ends a call that has no request or whose request cannot be handled, unless it has ended.
  virtual void Refuse(const absl::Status& status) = 0;

  // Waits until no method of this class is running any more.
  void StopReading() { watchdog_->Stop(); }

  CallbackOrder& order() { return order_; }

 private:
  void OnReadDone(bool ok) final;

  const std::shared_ptr<WriteWatchdog> watchdog_;
  std::atomic<bool> decided_ = false;  // set by the message or by the time-out
  grpc::ByteBuffer request_;
  CallbackOrder order_;
};

// Handles a unary call. `Handler` gets the message (see OnRequest) and calls `done` once, on any
// thread.
class UnaryCall final : public RequestReactor {
 public:
  using Done = std::function<void(const absl::StatusOr<grpc::ByteBuffer>& response)>;
  using Handler = std::function<void(const grpc::ByteBuffer& request, Done done)>;

  static grpc::ServerGenericBidiReactor* Start(absl::Duration timeout, Handler handler);

 private:
  UnaryCall(absl::Duration timeout, Handler handler)
      : RequestReactor(timeout), handler_(std::move(handler)) {}

  void OnRequest(const grpc::ByteBuffer& bytes) override;
  void Refuse(const absl::Status& status) override { End(status); }
  void OnDone() override;
  void End(const absl::StatusOr<grpc::ByteBuffer>& response);

  const Handler handler_;
  grpc::ByteBuffer response_;
  std::atomic<bool> ended_ = false;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_REQUEST_REACTOR_H_
