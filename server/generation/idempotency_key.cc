#include "server/generation/idempotency_key.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream.h>
#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>

namespace skipstream {
namespace {

using Digest = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

// Hashes what is written to it, a piece at a time: no second copy of a request with an image.
class HashingStream final : public google::protobuf::io::ZeroCopyOutputStream {
 public:
  HashingStream() : digest_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    GOOGLE_CHECK(digest_ != nullptr &&
                 EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr) == 1);
  }

  bool Next(void** data, int* size) override {
    HashBuffer();
    *data = buffer_.data();
    *size = used_ = static_cast<int>(buffer_.size());
    return true;
  }
  void BackUp(int count) override { used_ -= count; }
  int64_t ByteCount() const override { return hashed_ + used_; }

  // Once, at the end.
  std::string Finish() {
    HashBuffer();
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash;
    unsigned int length = 0;
    EVP_DigestFinal_ex(digest_.get(), hash.data(), &length);
    return std::string(hash.begin(), hash.begin() + length);
  }

 private:
  void HashBuffer() {
    EVP_DigestUpdate(digest_.get(), buffer_.data(), static_cast<size_t>(used_));
    hashed_ += used_;
    used_ = 0;
  }

  Digest digest_;
  std::array<char, 8192> buffer_;
  int used_ = 0;
  int64_t hashed_ = 0;
};

}  // namespace

IdempotencyKey MakeIdempotencyKey(const std::string& tenant, const v1::GenerateRequest& request) {
  HashingStream stream;
  // The id is hashed with the rest: requests are only ever compared under one id.
  {
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  return {.tenant = tenant, .request_id = request.request_id(), .request_hash = stream.Finish()};
}

}  // namespace skipstream
