// What makes two calls tries of the same request.
#ifndef SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_KEY_H_
#define SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_KEY_H_

#include <string>

#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

struct IdempotencyKey {
  std::string tenant;
  std::string request_id;
  // SHA-256 of the serialised request, 32 bytes. Requests that say the same in other
  // words, such as a field left out and the same field set to its default, are different.
  std::string request_hash;
};

// `request_id` must be valid (request_id.h).
IdempotencyKey MakeIdempotencyKey(const std::string& tenant, const v1::GenerateRequest& request);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_KEY_H_
