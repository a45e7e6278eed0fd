#ifndef SKIPSTREAM_SERVER_RPC_REFLECTION_SERVICE_H_
#define SKIPSTREAM_SERVER_RPC_REFLECTION_SERVICE_H_

#include <atomic>
#include <string>
#include <vector>

#include "server/rpc/call_router.h"

namespace skipstream {

// Serves gRPC's server reflection, versions v1 and v1alpha, so that generic clients find methods
// and messages. The reflection of gRPC 1.51 itself keeps a thread for every open call; here an open
// call keeps a few KiB.
class ReflectionService {
 public:
  // Calls open at a time; more are RESOURCE_EXHAUSTED.
  static constexpr int kMaxCalls = 256;

  // `services` are the full names to list, besides the two of reflection.
  explicit ReflectionService(std::vector<std::string> services);

  // The service outlives the router's server.
  void AddTo(CallRouter& router);

 private:
  template <typename Request, typename Response>
  class Call;

  std::vector<std::string> services_;
  std::atomic<int> calls_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_REFLECTION_SERVICE_H_
