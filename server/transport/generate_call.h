// One Generate RPC from its first byte to its last.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_
#define SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "server/transport/call_identity.h"
#include "server/transport/generate_environment.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Handles the RPC (serve_request.h): streams its events, serialized as in raw methods, and logs how
// it ended. The reactor belongs to gRPC and deletes itself; `request` is needed no longer than this
// function runs.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    const v1::GenerateRequest& request, CallIdentity identity);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_
