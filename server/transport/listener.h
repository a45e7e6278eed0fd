// Takes connections for gRPC. Its own listener ends for good at the first connection for which the
// process has no file descriptor left (CVE-2023-4785, in every release before 1.53): whoever may
// connect could close the door to everybody.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_LISTENER_H_
#define SKIPSTREAM_SERVER_TRANSPORT_LISTENER_H_

#include <grpcpp/server_builder.h>
#include <netdb.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/log/event_log.h"
#include "server/transport/log_limiter.h"

namespace skipstream {

// Descriptors the process uses at most, if it may have so many.
inline constexpr int kMaxDescriptors = 16'384;

// From what the process was started with, often 1,024, to what it may have, up to kMaxDescriptors.
void RaiseDescriptorLimit();

// A file descriptor of its own, or none.
class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) : fd_(fd) {}
  ~UniqueFd();
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Listens from Open() until it is destroyed, with a thread of its own from Start() on.
class Listener {
 public:
  // On every address `address` (HOST:PORT) stands for; port 0 picks a free one, 0.0.0.0 and [::]
  // mean all of IPv4 and IPv6. Unavailable, with the address and the reason, if that cannot be.
  // `log` outlives the listener.
  // At most `max_connections` are open at a time.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const std::string& address,
                                                        int max_connections, const EventLog& log);
  ~Listener();

  int port() const { return port_; }

  // Once, when gRPC's server has started: it gets every connection from now on. One that would take
  // a descriptor the rest of the server needs is closed at once.
  void Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor);

 private:
  Listener(int max_connections, const EventLog& log)
      : max_connections_(max_connections), log_(log) {}

  absl::Status Bind(const std::string& address);
  absl::Status Add(const addrinfo& info, bool both_families);
  void Run();
  // Takes what is waiting, or some of it. False: it cannot for now, as when there is no descriptor
  // left.
  bool Accept(int listening);

  const int max_connections_;
  const EventLog& log_;
  LogLimiter log_limiter_{/*max_lines=*/1, /*interval=*/absl::Seconds(10)};
  std::vector<UniqueFd> sockets_;
  UniqueFd stop_;  // readable: the thread shall end
  int port_ = 0;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::thread thread_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_LISTENER_H_
