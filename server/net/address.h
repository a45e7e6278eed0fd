#ifndef SKIPSTREAM_SERVER_NET_ADDRESS_H_
#define SKIPSTREAM_SERVER_NET_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace skipstream {

// Names an address to listen on.
struct HostAndPort {
  std::string host;  // without the brackets of an IPv6 address
  int port = 0;

  // Returns HOST:PORT, with brackets around an IPv6 address.
  std::string ToString() const;
};

// Reads HOST:PORT. InvalidArgument, with the valid form, if it is not that.
absl::StatusOr<HostAndPort> ParseAddress(const std::string& address);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_NET_ADDRESS_H_
