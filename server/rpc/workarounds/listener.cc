#include "server/rpc/workarounds/listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"

namespace skipstream {
namespace {

// Descriptors kept for files, the metrics port and gRPC's other uses; at most a quarter of all.
constexpr int kReservedDescriptors = 64;
// Connections accepted at a time, so that an endless stream of them does not delay other sockets or
// the stop.
constexpr int kMaxAtATime = 64;
// Milliseconds until the next try when there is no descriptor left.
constexpr int kPauseMs = 100;

// Returns the first descriptor number that is not for connections.
int DescriptorLimit(int max_connections) {
  rlimit limits = {};
  if (getrlimit(RLIMIT_NOFILE, &limits) != 0) return kMaxDescriptors;
  const auto limit = static_cast<int>(std::min<rlim_t>(limits.rlim_cur, kMaxDescriptors));
  return std::min(limit - std::min(kReservedDescriptors, limit / 4),
                  max_connections + kReservedDescriptors);
}

}  // namespace

void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, kMaxDescriptors));
  setrlimit(RLIMIT_NOFILE, &limit);
}

Listener::~Listener() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

absl::Status Listener::Start(
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor) {
  stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_) return absl::UnavailableError(strerror(errno));
  if (absl::Status status = sockets_.Listen(); !status.ok()) return status;
  acceptor_ = std::move(acceptor);
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

void Listener::Run() {
  std::vector<pollfd> all = {{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
  for (const UniqueFd& socket : sockets_.sockets()) all.push_back({socket.get(), POLLIN, 0});
  pollfd& stop = all.front();
  while (true) {
    // If the system has no memory even for this, it is tried again like anything else.
    bool has_room = poll(all.data(), all.size(), -1) >= 0;
    if (stop.revents != 0) return;
    for (const UniqueFd& socket : sockets_.sockets()) has_room = Accept(socket.get()) && has_room;
    if (!has_room) poll(&stop, 1, kPauseMs);
  }
}

bool Listener::Accept(int listening) {
  const auto refuse = [this](const char* why) {
    if (const auto unwritten = log_limiter_.Ask(RealClock().Now()); unwritten.has_value()) {
      log_.Warn("connection refused", {{"reason", why}, {"not_logged", *unwritten}});
    }
  };
  const int limit = DescriptorLimit(max_connections_);
  for (int i = 0; i < kMaxAtATime; ++i) {
    UniqueFd fd(accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EAGAIN) return true;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      refuse(strerror(errno));
      return false;
    }
    // The lowest free number is given: the higher ones are all in use by now.
    if (fd.get() >= limit) {
      refuse("too many open connections");
      continue;
    }
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.listener_fd = listening;
    connection.fd = fd.Release();
    acceptor_->HandleNewConnection(&connection);
  }
  return true;
}

}  // namespace skipstream
