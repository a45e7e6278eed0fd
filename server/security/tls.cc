#include "server/security/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

template <typename T, void (*free)(T*)>
struct Freed {
  void operator()(T* object) const { free(object); }
};
using BioPtr = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Freed<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX, SSL_CTX_free>>;

BioPtr BioOf(const std::string& pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

X509Ptr NextCertificate(BIO* bio) {
  return X509Ptr(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
}

// OpenSSL asks the terminal for a passphrase if nobody else has none.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

// OpenSSL's words for the last error; they never hold what was read.
std::string SslReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason == nullptr ? "unknown" : reason;
}

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(what, " (OpenSSL: ", SslReason(), ")"));
}

// As gRPC reads it: certificates until the PEM ends.
absl::Status CheckAllCertificates(const std::string& pem, absl::string_view what) {
  const BioPtr bio = BioOf(pem);
  int count = 0;
  while (NextCertificate(bio.get()) != nullptr) ++count;
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (count == 0 || !at_end) return Invalid(absl::StrCat(what, " is not PEM certificates"));
  ERR_clear_error();
  return absl::OkStatus();
}

absl::StatusOr<absl::Time> Check(const TlsFiles& files) {
  ERR_clear_error();
  if (absl::Status chain = CheckAllCertificates(files.certificate_chain, "the certificate");
      !chain.ok()) {
    return chain;
  }
  const X509Ptr certificate = NextCertificate(BioOf(files.certificate_chain).get());
  const KeyPtr key(
      PEM_read_bio_PrivateKey(BioOf(files.private_key).get(), nullptr, NoPassphrase, nullptr));
  if (key == nullptr) return Invalid("the key is not a PEM private key without a passphrase");
  const ContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate(context.get(), certificate.get()) != 1) {
    return Invalid("the certificate cannot be used");
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return Invalid("the key does not belong to the certificate");
  }
  if (!files.client_ca.empty()) {
    absl::Status client_ca = CheckAllCertificates(files.client_ca, "the clients' CA");
    if (!client_ca.ok()) return client_ca;
  }
  std::tm expires{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &expires) != 1) {
    return Invalid("the certificate has no date");
  }
  return absl::FromTM(expires, absl::UTCTimeZone());
}

}  // namespace

// gRPC's own C++ classes either never read certificates again or take whatever is in the files,
// also half of a new one, and then refuse every connection. The core asks a callback at each
// handshake instead and goes on with what it has until there is something new; this is the C++ side
// of that.
class TlsServerCredentials final : public grpc::ServerCredentials {
 public:
  explicit TlsServerCredentials(const TlsIdentity& identity) : identity_(identity) {
    const bool mutual = !identity.Get()->files.client_ca.empty();
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            &Fetch, this));
  }
  ~TlsServerCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  // gRPC calls it at every handshake, one at a time.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<TlsServerCredentials*>(self)->FetchIfNew(config);
  }
  grpc_ssl_certificate_config_reload_status FetchIfNew(
      grpc_ssl_server_certificate_config** config) {
    const std::shared_ptr<const TlsIdentity::InForce> in_force = identity_.Get();
    if (in_force->version == fetched_version_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const TlsFiles& files = in_force->files;
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = files.private_key.c_str(),
                                             .cert_chain = files.certificate_chain.c_str()};
    // gRPC 1.51 aborts without roots even where it never asks for a client's certificate; then any
    // that can be read will do.
    const std::string& roots = files.client_ca.empty() ? files.certificate_chain : files.client_ca;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    fetched_version_ = in_force->version;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const TlsIdentity& identity_;
  uint64_t fetched_version_ = 0;
  grpc_server_credentials* credentials_ = nullptr;
};

absl::StatusOr<std::unique_ptr<TlsIdentity>> TlsIdentity::Create(const TlsFiles& files) {
  const absl::StatusOr<absl::Time> expires = Check(files);
  if (!expires.ok()) return expires.status();
  return std::unique_ptr<TlsIdentity>(
      new TlsIdentity({.files = files, .expires = *expires, .version = 1}));
}

absl::Status TlsIdentity::Replace(const TlsFiles& files) {
  const absl::StatusOr<absl::Time> expires = Check(files);
  if (!expires.ok()) return expires.status();
  std::lock_guard lock(mutex_);
  in_force_ = std::make_shared<const InForce>(
      InForce{.files = files, .expires = *expires, .version = in_force_->version + 1});
  return absl::OkStatus();
}

absl::Time TlsIdentity::expires() const { return Get()->expires; }

std::shared_ptr<const TlsIdentity::InForce> TlsIdentity::Get() const {
  std::lock_guard lock(mutex_);
  return in_force_;
}

std::shared_ptr<grpc::ServerCredentials> TlsIdentity::MakeCredentials() {
  return std::make_shared<TlsServerCredentials>(*this);
}

}  // namespace skipstream
