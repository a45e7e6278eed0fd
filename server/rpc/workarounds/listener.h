// Takes connections for gRPC. Its own listener ends for good at the first connection for which the
// process has no file descriptor left (CVE-2023-4785, in every release before 1.53): whoever may
// connect could close the door to everybody.
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

// Descriptors the process uses at most, if it may have so many.
inline constexpr int kMaxDescriptors = 16'384;

// From what the process was started with, often 1,024, to what it may have, up to kMaxDescriptors.
void RaiseDescriptorLimit();

// Takes connections with a thread of its own from Start() until it is destroyed.
class Listener {
 public:
  // At most `max_connections` are open at a time. `log` outlives the listener.
  Listener(ListeningSockets sockets, int max_connections, const EventLog& log)
      : sockets_(std::move(sockets)), max_connections_(max_connections), log_(log) {}
  ~Listener();

  int port() const { return sockets_.address().port; }

  // Listens and hands every connection to gRPC's server, which has started; called once.
  // Connections that would take a descriptor the rest of the server needs are closed at once.
  // Unavailable if another program listens on the port meanwhile.
  absl::Status Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor);

 private:
  void Run();
  // Takes what is waiting, or some of it. False: it cannot for now, as when there is no descriptor
  // left.
  bool Accept(int listening);

  ListeningSockets sockets_;
  const int max_connections_;
  const EventLog& log_;
  LogLimiter log_limiter_{/*max_lines=*/1, /*interval=*/absl::Seconds(10)};
  UniqueFd stop_;  // readable: the thread shall end
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::thread thread_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_WORKAROUNDS_LISTENER_H_
