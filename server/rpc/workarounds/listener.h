// Accepts connections for gRPC. gRPC's own listener ends for good at the first connection for which
// the process has no file descriptor left. Any client could thus shut out all others
// (CVE-2023-4785, in every release before 1.53).
#ifndef SKIPSTREAM_SERVER_RPC_WORKAROUNDS_LISTENER_H_
#define SKIPSTREAM_SERVER_RPC_WORKAROUNDS_LISTENER_H_

#include <grpcpp/server_builder.h>

#include <memory>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/log_limiter.h"
#include "base/unique_fd.h"
#include "server/log/event_log.h"
#include "server/net/listening_sockets.h"

namespace skipstream {

// Limits the descriptors that the process uses, if the system permits it this number.
inline constexpr int kMaxDescriptors = 16'384;

// Raises the limit of descriptors from the one that the process was started with, often 1,024, to
// its hard limit, at most kMaxDescriptors.
void RaiseDescriptorLimit();

// Accepts connections on its own thread from Start() until it is destroyed.
class Listener {
 public:
  // Keeps at most `max_connections` open at a time. `log` outlives the listener.
  Listener(ListeningSockets sockets, int max_connections, const EventLog& log)
      : sockets_(std::move(sockets)), max_connections_(max_connections), log_(log) {}
  ~Listener();

  int port() const { return sockets_.address().port; }

  // Listens and hands every connection to gRPC's server, which has started; called once.
  // Connections that would take a descriptor that the rest of the server needs are closed at once.
  // Unavailable if another program listens on the port meanwhile.
  absl::Status Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor);

 private:
  void Run();
  // Accepts some of the waiting connections. Returns false if it cannot for now, as when there is
  // no descriptor left.
  bool Accept(int listening);

  ListeningSockets sockets_;
  const int max_connections_;
  const EventLog& log_;
  LogLimiter log_limiter_{/*max_lines=*/1, /*interval=*/absl::Seconds(10)};
  UniqueFd stop_;  // readable: the thread must end
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::thread thread_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_WORKAROUNDS_LISTENER_H_
