#ifndef SKIPSTREAM_SERVER_TRANSPORT_DOOR_H_
#define SKIPSTREAM_SERVER_TRANSPORT_DOOR_H_

#include <grpcpp/server_context.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/transport/authenticator.h"
#include "server/transport/log_limiter.h"

namespace skipstream {

// What every method asks first: who is it, may they. Counts and logs those who may not, at most ten
// lines in ten seconds. Thread-safe.
class Door {
 public:
  // All of it outlives the door.
  Door(const Authenticator& authenticator, const Clock& clock, TransportMetrics& metrics,
       const EventLog& log)
      : authenticator_(authenticator), clock_(clock), metrics_(metrics), log_(log) {}

  absl::StatusOr<Caller> Enter(const grpc::CallbackServerContext& context, Right needed,
                               const char* method) const;

 private:
  const Authenticator& authenticator_;
  const Clock& clock_;
  TransportMetrics& metrics_;
  const EventLog& log_;
  mutable LogLimiter limiter_{/*max_lines=*/10, /*interval=*/absl::Seconds(10)};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_DOOR_H_
