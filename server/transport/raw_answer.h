// How a raw unary method ends.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_RAW_ANSWER_H_
#define SKIPSTREAM_SERVER_TRANSPORT_RAW_ANSWER_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "server/transport/grpc_status.h"
#include "server/transport/wire_limits.h"

namespace skipstream {

// Answers with the message of `result`, or with its error. `response` is the method's.
template <typename Response>
void FinishWith(grpc::ServerUnaryReactor& reactor, const absl::StatusOr<Response>& result,
                grpc::ByteBuffer& response) {
  if (result.ok()) response = Serialized(*result);
  reactor.Finish(ToGrpcStatus(result.status()));
}

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_RAW_ANSWER_H_
