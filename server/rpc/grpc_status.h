// Converts the server's errors to gRPC's; nothing else does.
#ifndef SKIPSTREAM_SERVER_RPC_GRPC_STATUS_H_
#define SKIPSTREAM_SERVER_RPC_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"

namespace skipstream {

// Names the google.rpc.ErrorInfo.domain of every reason.
inline constexpr char kErrorDomain[] = "skipstream.dev";

// Converts a status, with a google.rpc.Status in the binary details: BadRequest for field
// violations, RetryInfo for a retry time, ErrorInfo for a reason (base/error_details.h). Everything
// together stays well under the 8 KB that gRPC allows for headers: long texts are cut.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_GRPC_STATUS_H_
