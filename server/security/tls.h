// Encrypts connections with certificates that can be replaced while the server runs.
#ifndef SKIPSTREAM_SERVER_SECURITY_TLS_H_
#define SKIPSTREAM_SERVER_SECURITY_TLS_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpc {
class ServerCredentials;
}

namespace skipstream {

// Holds the files' contents in PEM.
struct TlsFiles {
  std::string certificate_chain;  // the server's own first
  std::string private_key;        // of that certificate, without a passphrase
  std::string client_ca = {};     // CA of clients' certificates; empty: clients need none
};

// Holds the certificate, key and client CA that connections use. Thread-safe.
class TlsIdentity {
 public:
  // Creates the identity. InvalidArgument as for Replace().
  static absl::StatusOr<std::unique_ptr<TlsIdentity>> Create(const TlsFiles& files);

  // Replaces the files for connections made from now on; open ones go on. InvalidArgument, and
  // nothing changes, if a file is not PEM, the key does not belong to the certificate, or OpenSSL
  // rejects one of them as too weak. `files` have a client_ca if and only if the first ones had. No
  // error holds any part of a key.
  absl::Status Replace(const TlsFiles& files);

  // Returns the time at which the certificate in force expires.
  absl::Time expires() const;

  // Makes credentials for one port of a server. Both the result and this object outlive the server.
  std::shared_ptr<grpc::ServerCredentials> MakeCredentials();

 private:
  friend class TlsServerCredentials;
  struct InForce {
    TlsFiles files;
    absl::Time expires;
    uint64_t version = 0;
  };

  explicit TlsIdentity(InForce in_force)
      : in_force_(std::make_shared<const InForce>(std::move(in_force))) {}

  std::shared_ptr<const InForce> Get() const;

  mutable std::mutex mutex_;
  std::shared_ptr<const InForce> in_force_;  // guarded by mutex_
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_SECURITY_TLS_H_
