#include "server/rpc/call_router.h"

#include "absl/status/status.h"
#include "server/rpc/request_reactor.h"

namespace skipstream {

grpc::ServerGenericBidiReactor* CallRouter::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  const auto method = methods_.find(context->method());
  if (method == methods_.end()) {
    return RefuseCall(absl::UnimplementedError("the server has no such method"));
  }
  return method->second(context);
}

}  // namespace skipstream
