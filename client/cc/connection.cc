#include "client/cc/connection.h"

#include <arpa/inet.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace skipstream::client {
namespace {

// Without the port and the brackets of IPv6. Empty if there is more than one address.
std::string HostOf(absl::string_view address) {
  if (absl::StrContains(address, ',')) return "";
  if (absl::ConsumePrefix(&address, "[")) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(address, absl::MaxSplits(']', 1));
    const bool only_a_port = parts.second.empty() || absl::StartsWith(parts.second, ":");
    return only_a_port ? std::string(parts.first) : "";
  }
  const size_t colon = address.rfind(':');
  const bool has_port = colon != absl::string_view::npos && address.find(':') == colon;
  return std::string(has_port ? address.substr(0, colon) : address);
}

bool IsUnixSocket(const std::string& target) {
  return absl::StartsWith(target, "unix:") || absl::StartsWith(target, "unix-abstract:");
}

// True if the name says that nobody but this machine can listen on the way. A name that may be
// another machine's says no such thing.
bool IsThisMachine(const std::string& target) {
  if (IsUnixSocket(target)) return true;
  absl::string_view address = target;
  for (absl::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&address, scheme)) break;
  }
  const std::string host = HostOf(address);
  if (host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

// Returns the system's CAs; gRPC's built-in list does not contain those that were added to the
// system. Empty where there is no such file; gRPC then uses its list.
std::string SystemCa() {
  std::ifstream in("/etc/ssl/certs/ca-certificates.crt");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// The first port above 65535, for which gRPC would take another one.
absl::string_view PortThatIsNone(const std::string& target) {
  if (IsUnixSocket(target)) return "";
  for (const absl::string_view address : absl::StrSplit(absl::string_view(target), ',')) {
    const absl::string_view port = address.substr(address.rfind(':') + 1);
    int number = 0;
    const bool all_digits =
        !port.empty() && std::all_of(port.begin(), port.end(), absl::ascii_isdigit);
    if (all_digits && (!absl::SimpleAtoi(port, &number) || number > 65535)) return port;
  }
  return "";
}

bool IsPrintable(const std::string& text, bool with_spaces) {
  return std::all_of(text.begin(), text.end(), [=](unsigned char c) {
    return absl::ascii_isgraph(c) || (with_spaces && c == ' ');
  });
}

}  // namespace

absl::Status ValidateConnection(const std::string& target, const ConnectionOptions& options) {
  if (const absl::string_view port = PortThatIsNone(target); !port.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(target, ": a port is at most 65535, got ", port));
  }
  if (options.cert_pem.empty() != options.key_pem.empty()) {
    return absl::InvalidArgumentError(
        "a client's certificate and its key are needed together, or none of them");
  }
  if (!options.tls && !(options.ca_pem.empty() && options.cert_pem.empty())) {
    return absl::InvalidArgumentError("certificates are for connections with TLS");
  }
  // The server would see another token, or gRPC would refuse the call with its own message.
  if (!IsPrintable(options.token, /*with_spaces=*/false)) {
    return absl::InvalidArgumentError(
        "the token holds characters that no token has: it is one word of printable ASCII");
  }
  if (!IsPrintable(options.traceparent, /*with_spaces=*/true)) {
    return absl::InvalidArgumentError("the traceparent holds characters that are not printable");
  }
  if (!options.token.empty() && !options.tls && !options.allow_plaintext_token &&
      !IsThisMachine(target)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the token is not sent to ", target,
                     " because the connection is not encrypted: anybody on the way could read it; "
                     "use TLS"));
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::ChannelCredentials> MakeCredentials(const std::string& target,
                                                          const ConnectionOptions& options) {
  if (!options.tls) {
    if (options.token.empty() || options.allow_plaintext_token || IsUnixSocket(target)) {
      return grpc::InsecureChannelCredentials();
    }
    // "localhost" is any address that a resolver returns for it. These credentials check the
    // connection itself before anything is sent, and add nothing to it.
    return grpc::experimental::LocalCredentials(LOCAL_TCP);
  }
  return grpc::SslCredentials(
      {.pem_root_certs = options.ca_pem.empty() ? SystemCa() : options.ca_pem,
       .pem_private_key = options.key_pem,
       .pem_cert_chain = options.cert_pem});
}

CallMetadata MakeCallMetadata(const ConnectionOptions& options) {
  CallMetadata metadata;
  if (!options.token.empty()) {
    metadata.emplace_back("authorization", absl::StrCat("Bearer ", options.token));
  }
  if (!options.traceparent.empty()) metadata.emplace_back("traceparent", options.traceparent);
  return metadata;
}

void AddMetadata(grpc::ClientContext& context, const CallMetadata& metadata) {
  for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
}

}  // namespace skipstream::client
