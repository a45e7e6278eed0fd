#include "server/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace skipstream {
namespace {

bool IsIpv6(const std::string& host) {
  in6_addr ignored;
  return inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

std::optional<int> ParsePort(absl::string_view text) {
  int port = 0;
  if (!std::all_of(text.begin(), text.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text, &port) || port > 65535) {
    return std::nullopt;
  }
  return port;
}

absl::Status BracketsNeeded(const std::string& right, const std::string& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("an IPv6 address needs brackets: ", right, ", got '", got, "'"));
}

}  // namespace

std::string HostAndPort::ToString() const {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port)
                                      : absl::StrCat(host, ":", port);
}

absl::StatusOr<HostAndPort> ParseAddress(const std::string& address) {
  absl::Status invalid = absl::InvalidArgumentError(
      absl::StrCat("must be HOST:PORT with a port between 0 and 65535 (0 picks a free one), got '",
                   address, "'"));
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return invalid;
  const std::string host = address.substr(0, colon);
  const std::optional<int> port = ParsePort(absl::string_view(address).substr(colon + 1));
  if (port && IsIpv6(host)) {
    return BracketsNeeded(HostAndPort{.host = host, .port = *port}.ToString(), address);
  }
  if (IsIpv6(address)) return BracketsNeeded(absl::StrCat("[", address, "]:PORT"), address);
  if (!port) return invalid;
  if (host.find_first_of(":[]") == std::string::npos) {
    return HostAndPort{.host = host, .port = *port};
  }
  // An address with a zone, such as fe80::1%eth0, is for the system to check.
  if (host.size() < 3 || host.front() != '[' || host.back() != ']') return invalid;
  return HostAndPort{.host = host.substr(1, host.size() - 2), .port = *port};
}

}  // namespace skipstream
