#ifndef SKIPSTREAM_SERVER_RPC_GENERATE_CALL_H_
#define SKIPSTREAM_SERVER_RPC_GENERATE_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "absl/status/status.h"
#include "server/generation/generate_environment.h"
#include "server/rpc/request_reactor.h"
#include "server/security/auth_file.h"

namespace skipstream {

// Handles a Generate call from its headers to its end: reads the request within
// `environment->request_timeout`, serves it (serve_request.h), streams its events serialized, and
// logs how it ended. The reactor deletes itself.
grpc::ServerGenericBidiReactor* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    Caller caller);

// Counts a Generate call that ended with `status` before its request was known. It is not logged:
// any client that reaches the port could fill the log with calls that mean nothing.
void CountUnresolvedCall(const GenerateEnvironment& environment, const absl::Status& status);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_GENERATE_CALL_H_
