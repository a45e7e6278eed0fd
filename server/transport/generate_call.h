// One Generate RPC from its first byte to its last.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_
#define SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "server/transport/generate_environment.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Handles the RPC of `tenant` (serve_request.h). The reactor belongs to gRPC and deletes itself.
grpc::ServerWriteReactor<v1::GenerateEvent>* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    const v1::GenerateRequest* request, const std::shared_ptr<const Tenant>& tenant);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_GENERATE_CALL_H_
