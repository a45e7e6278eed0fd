// TLS with certificates that can be replaced while the server runs.
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

// PEM.
struct TlsFiles {
  std::string certificate_chain;  // the server's own first
  std::string private_key;        // of that certificate, without a passphrase
  std::string client_ca = {};     // who signs clients' certificates; empty: clients need none
};

// What connections are encrypted with. Thread-safe.
class TlsIdentity {
 public:
  // InvalidArgument, as Replace.
  static absl::StatusOr<std::unique_ptr<TlsIdentity>> Create(const TlsFiles& files);

  // For connections made from now on; those that are open go on. InvalidArgument, and nothing
  // changes, if a file is not PEM, or the key does not belong to the certificate, or OpenSSL takes
  // one of them for too weak. `files` have a client_ca if and only if the first ones had. No error
  // holds anything of a key.
  absl::Status Replace(const TlsFiles& files);

  // When the certificate in force expires.
  absl::Time expires() const;

  // For one port of a server. Both the result and this object outlive the server.
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
