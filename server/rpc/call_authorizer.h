#ifndef SKIPSTREAM_SERVER_RPC_CALL_AUTHORIZER_H_
#define SKIPSTREAM_SERVER_RPC_CALL_AUTHORIZER_H_

#include <grpcpp/server_context.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log_limiter.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/security/authenticator.h"

namespace skipstream {

// Identifies the caller of a call and checks their rights; every method asks it first. Counts and
// logs refusals, at most ten lines in ten seconds. Thread-safe.
class CallAuthorizer {
 public:
  // Everything passed in outlives the authorizer.
  CallAuthorizer(const Authenticator& authenticator, const Clock& clock, TransportMetrics& metrics,
                 const EventLog& log)
      : authenticator_(authenticator), clock_(clock), metrics_(metrics), log_(log) {}

  absl::StatusOr<Caller> Authorize(const grpc::CallbackServerContext& context, Right needed,
                                   const char* method) const;

 private:
  const Authenticator& authenticator_;
  const Clock& clock_;
  TransportMetrics& metrics_;
  const EventLog& log_;
  mutable LogLimiter limiter_{/*max_lines=*/10, /*interval=*/absl::Seconds(10)};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_CALL_AUTHORIZER_H_
