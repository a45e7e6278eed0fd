// Converts a gRPC status with google.rpc details to an absl::Status that people can read and
// programs can query.
#ifndef SKIPSTREAM_CLIENT_CC_RPC_STATUS_H_
#define SKIPSTREAM_CLIENT_CC_RPC_STATUS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class Status;
}

namespace skipstream::client {

// Names one offending field of a request (google.rpc.BadRequest).
struct FieldViolation {
  std::string field;        // path in the request, e.g. "sampler.nfe"
  std::string description;  // what is wrong and what would be valid
};

// Keeps the code; the message also names every violated field ("sampler.nfe: must be ..."). The
// details become payloads, keyed by their type URL. Details that do not parse are left out.
absl::Status FromGrpcStatus(const grpc::Status& status);

// Return the details that FromGrpcStatus() kept.
std::vector<FieldViolation> GetFieldViolations(const absl::Status& status);
std::optional<absl::Duration> GetRetryDelay(const absl::Status& status);
std::string GetErrorReason(const absl::Status& status);  // empty if the server gave none

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_RPC_STATUS_H_
