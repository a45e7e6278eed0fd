#include "server/security/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

using Key = std::shared_ptr<EVP_PKEY>;

Key NewKey() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

std::string KeyPem(const Key& key, const char* passphrase = nullptr) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key.get(), passphrase ? EVP_aes_128_cbc() : nullptr, nullptr, 0,
                           nullptr, const_cast<char*>(passphrase));
  return Contents(bio);
}

// Signed by its own key, valid for an hour.
std::string CertificatePem(const Key& key) {
  const std::shared_ptr<X509> certificate(X509_new(), X509_free);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate.get());
  return Contents(bio);
}

class TlsIdentityTest : public ::testing::Test {
 protected:
  const Key key_ = NewKey();
  const TlsFiles good_ = {.certificate_chain = CertificatePem(key_), .private_key = KeyPem(key_)};
};

TEST_F(TlsIdentityTest, AGoodPairIsTakenAndSaysWhenItExpires) {
  const auto tls = TlsIdentity::Create(good_);
  ASSERT_TRUE(tls.ok()) << tls.status();
  EXPECT_GT((*tls)->expires(), absl::Now() + absl::Minutes(55));
  EXPECT_LT((*tls)->expires(), absl::Now() + absl::Minutes(65));
}

TEST_F(TlsIdentityTest, AChainMayHaveManyCertificates) {
  TlsFiles files = good_;
  files.certificate_chain += CertificatePem(NewKey());
  files.client_ca = CertificatePem(NewKey()) + CertificatePem(NewKey());
  EXPECT_TRUE(TlsIdentity::Create(files).ok());
}

TEST_F(TlsIdentityTest, WhatCannotBeUsedIsRefusedAndSaysWhich) {
  const auto refused = [](const TlsFiles& files) {
    const auto tls = TlsIdentity::Create(files);
    EXPECT_EQ(tls.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(tls.status().message());
  };
  TlsFiles files = good_;
  files.certificate_chain = "";
  EXPECT_THAT(refused(files), HasSubstr("the certificate is not PEM"));
  files.certificate_chain = good_.certificate_chain.substr(0, 200);
  EXPECT_THAT(refused(files), HasSubstr("the certificate is not PEM"));
  files.certificate_chain = good_.certificate_chain + good_.certificate_chain.substr(0, 200);
  EXPECT_THAT(refused(files), HasSubstr("the certificate is not PEM")) << "its end is missing";
  files = good_;
  files.private_key = good_.private_key.substr(0, 100);
  EXPECT_THAT(refused(files), HasSubstr("the key is not a PEM private key"));
  files.private_key = KeyPem(key_, "secret");
  EXPECT_THAT(refused(files), HasSubstr("without a passphrase"));
  files.private_key = KeyPem(NewKey());
  EXPECT_THAT(refused(files), HasSubstr("the key does not belong to the certificate"));
  EXPECT_THAT(refused(files), Not(HasSubstr(files.private_key.substr(30, 20))));
  files = good_;
  files.client_ca = "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n";
  EXPECT_THAT(refused(files), HasSubstr("the clients' CA is not PEM"));
}

TEST_F(TlsIdentityTest, ABadReplacementChangesNothing) {
  const auto tls = TlsIdentity::Create(good_);
  ASSERT_TRUE(tls.ok()) << tls.status();
  const absl::Time expires = (*tls)->expires();
  EXPECT_FALSE((*tls)->Replace({.certificate_chain = "", .private_key = ""}).ok());
  EXPECT_EQ((*tls)->expires(), expires);
  EXPECT_TRUE((*tls)->Replace(good_).ok());
}

}  // namespace
}  // namespace skipstream
