#ifndef SKIPSTREAM_SERVER_RPC_UNARY_METHOD_H_
#define SKIPSTREAM_SERVER_RPC_UNARY_METHOD_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/rpc/request_reactor.h"
#include "server/rpc/wire_limits.h"
#include "server/security/auth_file.h"

namespace skipstream {

// Serializes the message of `result`, or passes its error on.
template <typename Response>
absl::StatusOr<grpc::ByteBuffer> SerializedResult(const absl::StatusOr<Response>& result) {
  if (!result.ok()) return result.status();
  return Serialized(*result);
}

// Handles a unary call whose request is a name or two. Refuses callers without the right, without
// reading their message. `handle(caller, request, done)` calls `done` once, with SerializedResult.
template <typename Request, typename Handle>
grpc::ServerGenericBidiReactor* HandleUnary(absl::StatusOr<Caller> caller, absl::Duration timeout,
                                            Handle handle) {
  if (!caller.ok()) return RefuseCall(caller.status());
  return UnaryCall::Start(timeout, [caller = *std::move(caller), handle = std::move(handle)](
                                       const grpc::ByteBuffer& bytes, UnaryCall::Done done) {
    Request request;
    if (absl::Status parsed = ParseBounded(bytes, kMaxQueryBytes, request); !parsed.ok()) {
      done(parsed);
      return;
    }
    handle(caller, std::move(request), std::move(done));
  });
}

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_UNARY_METHOD_H_
