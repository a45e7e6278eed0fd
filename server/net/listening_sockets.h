#ifndef SKIPSTREAM_SERVER_NET_LISTENING_SOCKETS_H_
#define SKIPSTREAM_SERVER_NET_LISTENING_SOCKETS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "server/net/address.h"

namespace skipstream {

// Holds the sockets of a port: bound by Bind(), so that the port is taken, and refusing connections
// until Listen().
class ListeningSockets {
 public:
  // Binds every address that `address` (HOST:PORT) stands for. Port 0 picks a free port; 0.0.0.0
  // and [::] both mean all of IPv4 and IPv6. Addresses of a family that this machine does not have
  // are left out.
  // InvalidArgument if it is not HOST:PORT; Unavailable, with the address and the system's reason,
  // if one of the addresses cannot be bound.
  static absl::StatusOr<ListeningSockets> Bind(const std::string& address);

  // Returns the address given to Bind(), with the port that was bound.
  const HostAndPort& address() const { return address_; }
  const std::vector<UniqueFd>& sockets() const { return sockets_; }
  std::vector<UniqueFd> Release() && { return std::move(sockets_); }

  // Accepts connections from now on. Unavailable, as for Bind(), if another program was faster.
  absl::Status Listen();

 private:
  ListeningSockets(HostAndPort address, std::vector<UniqueFd> sockets)
      : address_(std::move(address)), sockets_(std::move(sockets)) {}

  HostAndPort address_;
  std::vector<UniqueFd> sockets_;  // not blocking
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_NET_LISTENING_SOCKETS_H_
