#ifndef SKIPSTREAM_SERVER_RPC_CALL_ROUTER_H_
#define SKIPSTREAM_SERVER_RPC_CALL_ROUTER_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace skipstream {

// Gives each call to its method when its headers have arrived, before its message is read. Methods
// that gRPC's generated services declare as unary or server streaming get the call only once their
// message is whole in memory, also from callers without rights. On the wire nothing differs.
class CallRouter final : public grpc::CallbackGenericService {
 public:
  // Returns the reactor of a new call, which deletes itself when it is done. Must not block.
  using Method = std::function<grpc::ServerGenericBidiReactor*(grpc::CallbackServerContext*)>;

  // Adds a method. `path` is "/package.Service/Method". Only before the server starts.
  void Add(const std::string& path, Method method) { methods_[path] = std::move(method); }

  // Ends calls of unknown methods with UNIMPLEMENTED.
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

 private:
  absl::flat_hash_map<std::string, Method> methods_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_CALL_ROUTER_H_
