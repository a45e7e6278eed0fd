// How a client reaches its server: encrypted or not, and as whom.
#ifndef SKIPSTREAM_CLIENT_CC_CONNECTION_H_
#define SKIPSTREAM_CLIENT_CC_CONNECTION_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace grpc {
class ChannelCredentials;
class ClientContext;
}  // namespace grpc

namespace skipstream::client {

struct ConnectionOptions {
  bool tls = false;
  // PEM. Whom to trust; empty: whom the system trusts.
  std::string ca_pem = {};
  // PEM. For servers that ask clients for a certificate: both or none.
  std::string cert_pem = {};
  std::string key_pem = {};

  // Sent with every call ("authorization: Bearer TOKEN"). Without TLS only to this machine, unless
  // allow_plaintext_token says that the way there is safe.
  std::string token = {};
  bool allow_plaintext_token = false;

  // W3C Trace Context of what these calls are part of; servers log it.
  std::string traceparent = {};
};

// OK if a client can be made of these; never with any part of the token.
absl::Status ValidateConnection(const std::string& target, const ConnectionOptions& options);

// With those for a token without TLS, connections are made to this machine only, wherever the name
// of `target` leads.
std::shared_ptr<grpc::ChannelCredentials> MakeCredentials(const std::string& target,
                                                          const ConnectionOptions& options);

// What goes with every call.
using CallMetadata = std::vector<std::pair<std::string, std::string>>;
CallMetadata MakeCallMetadata(const ConnectionOptions& options);
void AddMetadata(grpc::ClientContext& context, const CallMetadata& metadata);

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_CONNECTION_H_
