// Identifies a call before its request is resolved: its caller, and its id and trace in logs.
#ifndef SKIPSTREAM_SERVER_RPC_CALL_IDENTITY_H_
#define SKIPSTREAM_SERVER_RPC_CALL_IDENTITY_H_

#include <grpcpp/server_context.h>

#include <optional>
#include <string>

#include "server/log/event_log.h"
#include "server/rpc/trace_context.h"
#include "server/security/auth_file.h"

namespace skipstream {

inline constexpr char kRequestIdHeader[] = "x-request-id";

struct CallIdentity {
  Caller caller;
  std::string request_id;  // the client's or a drawn one
  std::optional<TraceContext> trace;
};

// Identifies a call whose request has the id `request_id`, which may be empty or invalid. Sends id
// and trace back in the initial metadata.
CallIdentity IdentifyCall(grpc::CallbackServerContext& context, Caller caller,
                          const std::string& request_id);

// Returns the fields request_id, traceparent, trace_id, tenant.
LogFields IdentityFields(const CallIdentity& identity);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_CALL_IDENTITY_H_
