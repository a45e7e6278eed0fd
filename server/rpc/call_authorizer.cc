#include "server/rpc/call_authorizer.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error_details.h"
#include "server/rpc/grpc_status.h"

namespace skipstream {

absl::StatusOr<Caller> CallAuthorizer::Authorize(const grpc::CallbackServerContext& context,
                                                 Right needed, const char* method) const {
  std::vector<std::string> authorization;
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  for (auto it = begin; it != end; ++it) {
    authorization.emplace_back(it->second.data(), it->second.size());
  }
  absl::StatusOr<Caller> caller = authenticator_.Authenticate(authorization, needed);
  if (caller.ok()) return caller;
  const std::string reason = GetReason(caller.status());
  metrics_.rejected.With({reason}).Increment();
  if (const std::optional<int64_t> unwritten = limiter_.Ask(clock_.Now())) {
    log_.Warn("refused", {{"method", method},
                          {"code", StatusCodeName(caller.status())},
                          {"reason", reason},
                          {"peer", context.peer()},
                          {"more_not_logged", *unwritten}});
  }
  return caller;
}

}  // namespace skipstream
