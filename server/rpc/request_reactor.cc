#include "server/rpc/request_reactor.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/grpc_status.h"

namespace skipstream {
namespace {

class RefusedCall final : public grpc::ServerGenericBidiReactor {
 public:
  explicit RefusedCall(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerGenericBidiReactor* RefuseCall(const absl::Status& status) {
  return new RefusedCall(status);
}

RequestReactor::RequestReactor(absl::Duration timeout)
    : watchdog_(std::make_shared<WriteWatchdog>(timeout, [this, timeout] {
        if (decided_.exchange(true)) return;
        Refuse(absl::DeadlineExceededError(absl::StrCat("the request did not arrive within ",
                                                        absl::FormatDuration(timeout),
                                                        " of its headers")));
      })) {}

void RequestReactor::ReadRequest() {
  watchdog_->WriteStarted();
  StartRead(&request_);
  order_.HandOver();
}

void RequestReactor::OnReadDone(bool ok) {
  const CallbackOrder::Callback callback(order_);
  if (decided_.exchange(true)) return;
  watchdog_->WriteEnded();
  if (!ok) request_.Clear();
  // gRPC would swallow an exception and never end the call.
  try {
    OnRequest(request_);
  } catch (const std::exception& exception) {
    Refuse(absl::InternalError(absl::StrCat("unexpected error: ", exception.what())));
  }
  // gRPC would keep the bytes until the call ends. An image in them can be many times larger than
  // what becomes of it.
  request_.Clear();
}

grpc::ServerGenericBidiReactor* UnaryCall::Start(absl::Duration timeout, Handler handler) {
  auto* call = new UnaryCall(timeout, std::move(handler));
  call->ReadRequest();
  return call;
}

void UnaryCall::OnRequest(const grpc::ByteBuffer& bytes) {
  handler_(bytes, [this](const absl::StatusOr<grpc::ByteBuffer>& response) { End(response); });
}

void UnaryCall::End(const absl::StatusOr<grpc::ByteBuffer>& response) {
  if (ended_.exchange(true)) return;
  if (response.ok()) response_ = *response;
  order().Finish();
  if (response.ok()) {
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    Finish(ToGrpcStatus(response.status()));
  }
}

void UnaryCall::OnDone() {
  order().Done();
  StopReading();
  delete this;
}

}  // namespace skipstream
