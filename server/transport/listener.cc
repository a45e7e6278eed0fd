#include "server/transport/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/engine/clock.h"

namespace skipstream {
namespace {

// For files, the metrics port and what gRPC opens besides connections; of few, a quarter.
constexpr int kReservedDescriptors = 64;
// At a time, so that whoever connects without end does not keep others, or the stop, waiting.
constexpr int kMaxAtATime = 64;
// Until the next try when there is no descriptor left.
constexpr int kPauseMs = 100;
// Written data that is not acknowledged for so long ends a connection, as with gRPC's own listener.
constexpr int kUserTimeoutMs = 10'000;

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<AddressList> Resolve(const std::string& host, const std::string& port) {
  addrinfo hints = {};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &first);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  return AddressList(first, &freeaddrinfo);
}

void SetPort(sockaddr& address, int port) {
  const auto value = htons(static_cast<uint16_t>(port));
  if (address.sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = value;
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = value;
  }
}

int PortOf(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// Accepted sockets inherit the options.
absl::StatusOr<UniqueFd> ListenOn(const addrinfo& info, bool both_families) {
  UniqueFd fd(socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto set = [&](int level, int option, int value) {
    return setsockopt(fd.get(), level, option, &value, sizeof(value)) == 0;
  };
  if (!fd || !set(SOL_SOCKET, SO_REUSEADDR, 1) || !set(IPPROTO_TCP, TCP_NODELAY, 1) ||
      !set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs) ||
      (info.ai_family == AF_INET6 && !set(IPPROTO_IPV6, IPV6_V6ONLY, both_families ? 0 : 1)) ||
      bind(fd.get(), info.ai_addr, info.ai_addrlen) != 0 || listen(fd.get(), SOMAXCONN) != 0) {
    return absl::UnavailableError(strerror(errno));
  }
  return fd;
}

// The first descriptor number that is not for connections, if there may be so many of them.
int DescriptorLimit(int max_connections) {
  rlimit limits = {};
  if (getrlimit(RLIMIT_NOFILE, &limits) != 0) return kMaxDescriptors;
  const auto limit = static_cast<int>(std::min<rlim_t>(limits.rlim_cur, kMaxDescriptors));
  return std::min(limit - std::min(kReservedDescriptors, limit / 4),
                  max_connections + kReservedDescriptors);
}

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) close(fd_);
}

void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, kMaxDescriptors));
  setrlimit(RLIMIT_NOFILE, &limit);
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const std::string& address,
                                                         int max_connections, const EventLog& log) {
  std::unique_ptr<Listener> listener(new Listener(max_connections, log));
  if (absl::Status status = listener->Bind(address); !status.ok()) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": ", status.message()));
  }
  return listener;
}

absl::Status Listener::Bind(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return absl::UnavailableError("it is not HOST:PORT");
  const absl::string_view in_brackets = absl::string_view(address).substr(0, colon);
  const std::string host(absl::StripSuffix(absl::StripPrefix(in_brackets, "["), "]"));
  const std::string port = address.substr(colon + 1);
  stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_) return absl::UnavailableError(strerror(errno));

  const bool everything = host == "0.0.0.0" || host == "::";
  if (everything) {
    const auto any = Resolve("::", port);
    if (any.ok() && Add(**any, /*both_families=*/true).ok()) return absl::OkStatus();
    // Without IPv6, then.
  }
  const auto addresses = Resolve(everything ? "0.0.0.0" : host, port);
  if (!addresses.ok()) return addresses.status();
  absl::Status error;
  for (addrinfo* info = addresses->get(); info != nullptr; info = info->ai_next) {
    if (port_ != 0) SetPort(*info->ai_addr, port_);  // the one that was picked
    if (absl::Status added = Add(*info, /*both_families=*/false); !added.ok()) error = added;
  }
  return sockets_.empty() ? error : absl::OkStatus();
}

absl::Status Listener::Add(const addrinfo& info, bool both_families) {
  absl::StatusOr<UniqueFd> fd = ListenOn(info, both_families);
  if (!fd.ok()) return fd.status();
  port_ = PortOf(fd->get());
  sockets_.push_back(*std::move(fd));
  return absl::OkStatus();
}

Listener::~Listener() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void Listener::Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor) {
  acceptor_ = std::move(acceptor);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Run() {
  std::vector<pollfd> all = {{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
  for (const UniqueFd& socket : sockets_) all.push_back({socket.get(), POLLIN, 0});
  pollfd& stop = all.front();
  while (true) {
    // If the system has no memory even for this, it is tried again like anything else.
    bool has_room = poll(all.data(), all.size(), -1) >= 0;
    if (stop.revents != 0) return;
    for (const UniqueFd& socket : sockets_) has_room = Accept(socket.get()) && has_room;
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
