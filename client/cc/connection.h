// Configures a client's connection to its server: encryption and identity.
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
  // PEM of the trusted CAs; empty: those that the system trusts.
  std::string ca_pem = {};
  // PEM of the client's certificate and key, for servers that ask for them: both or none.
  std::string cert_pem = {};
  std::string key_pem = {};

  // Sent with every call ("authorization: Bearer TOKEN"). Without TLS it is sent to this machine
  // only, unless allow_plaintext_token says that the network is safe.
  std::string token = {};
  bool allow_plaintext_token = false;

  // W3C Trace Context of the trace that these calls belong to; servers log it.
  std::string traceparent = {};
};

// Returns OK if a client can be made of these options. An error never holds any part of the token.
absl::Status ValidateConnection(const std::string& target, const ConnectionOptions& options);

// Makes the credentials. With those for a token without TLS, connections are made to this machine
// only, wherever the name of `target` leads.
std::shared_ptr<grpc::ChannelCredentials> MakeCredentials(const std::string& target,
                                                          const ConnectionOptions& options);

// Holds the metadata of every call.
using CallMetadata = std::vector<std::pair<std::string, std::string>>;
CallMetadata MakeCallMetadata(const ConnectionOptions& options);
void AddMetadata(grpc::ClientContext& context, const CallMetadata& metadata);

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_CONNECTION_H_
