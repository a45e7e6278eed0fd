#include "server/net/listening_sockets.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

// Ends a connection whose written data is not acknowledged for this long, as gRPC's own listener
// does.
constexpr int kUserTimeoutMs = 10'000;
// A free port of one address may be taken on the next one.
constexpr int kTriesForFreePort = 20;

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::Status CannotListen(const HostAndPort& address, absl::string_view reason) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address.ToString(), ": ", reason));
}

// Either the host's addresses, or what getaddrinfo() says.
absl::StatusOr<AddressList> Resolve(const HostAndPort& address) {
  addrinfo hints = {};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const std::string port = absl::StrCat(address.port);
  const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &first);
  if (error != 0) {
    return CannotListen(address, error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
  }
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

int PortOf(const UniqueFd& socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// Resolvers may list an address twice.
bool IsListedBefore(const addrinfo* first, const addrinfo& info) {
  for (; first != &info; first = first->ai_next) {
    if (first->ai_addrlen == info.ai_addrlen &&
        memcmp(first->ai_addr, info.ai_addr, info.ai_addrlen) == 0) {
      return true;
    }
  }
  return false;
}

// The family, or the address, does not exist on this machine.
bool IsAbsent(int error) { return error == EAFNOSUPPORT || error == EADDRNOTAVAIL; }

struct Bound {
  std::vector<UniqueFd> sockets;
  int port = 0;
  int error = 0;  // errno of the first address that is taken or forbidden, else of an absent one
};

// Adds a socket, or the error. Accepted sockets inherit the options.
void BindOne(const addrinfo& info, int wanted_port, bool both_families, Bound& bound) {
  UniqueFd fd(socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto set = [&](int level, int option, int value) {
    return setsockopt(fd.get(), level, option, &value, sizeof(value)) == 0;
  };
  SetPort(*info.ai_addr, wanted_port != 0 ? wanted_port : bound.port);
  // Only a port that was asked for is worth taking over from connections that are being closed.
  if (!fd || (wanted_port != 0 && !set(SOL_SOCKET, SO_REUSEADDR, 1)) ||
      !set(IPPROTO_TCP, TCP_NODELAY, 1) || !set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs) ||
      (info.ai_family == AF_INET6 && !set(IPPROTO_IPV6, IPV6_V6ONLY, both_families ? 0 : 1)) ||
      bind(fd.get(), info.ai_addr, info.ai_addrlen) != 0) {
    if (bound.error == 0 || IsAbsent(bound.error)) bound.error = errno;
    return;
  }
  bound.port = PortOf(fd);
  bound.sockets.push_back(std::move(fd));
}

Bound BindAll(const addrinfo* first, int port, bool both_families) {
  Bound bound;
  for (const addrinfo* info = first; info != nullptr; info = info->ai_next) {
    if (!IsListedBefore(first, *info)) BindOne(*info, port, both_families, bound);
  }
  if (!bound.sockets.empty() && IsAbsent(bound.error)) bound.error = 0;
  return bound;
}

absl::StatusOr<Bound> BindHost(const HostAndPort& address, bool both_families) {
  const absl::StatusOr<AddressList> addresses = Resolve(address);
  if (!addresses.ok()) return addresses.status();
  Bound bound = BindAll(addresses->get(), address.port, both_families);
  for (int i = 1; i < kTriesForFreePort && address.port == 0 && bound.error == EADDRINUSE; ++i) {
    bound = BindAll(addresses->get(), address.port, both_families);
  }
  return bound;
}

}  // namespace

absl::StatusOr<ListeningSockets> ListeningSockets::Bind(const std::string& address) {
  absl::StatusOr<HostAndPort> parsed = ParseAddress(address);
  if (!parsed.ok()) return parsed.status();
  const bool everything = parsed->host == "0.0.0.0" || parsed->host == "::";
  absl::StatusOr<Bound> bound;
  if (everything) {
    bound = BindHost({.host = "::", .port = parsed->port}, /*both_families=*/true);
    const bool no_ipv6 = !bound.ok() || IsAbsent(bound->error);
    if (no_ipv6) bound = BindHost({.host = "0.0.0.0", .port = parsed->port}, false);
  } else {
    bound = BindHost(*parsed, /*both_families=*/false);
  }
  if (!bound.ok()) return bound.status();
  if (bound->error != 0) return CannotListen(*parsed, strerror(bound->error));
  parsed->port = bound->port;
  return ListeningSockets(*std::move(parsed), std::move(bound->sockets));
}

absl::Status ListeningSockets::Listen() {
  for (const UniqueFd& socket : sockets_) {
    if (listen(socket.get(), SOMAXCONN) != 0) return CannotListen(address_, strerror(errno));
  }
  return absl::OkStatus();
}

}  // namespace skipstream
