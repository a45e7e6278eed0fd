// Identifies retries: same tenant, same id, same bytes.
#ifndef SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_KEY_H_
#define SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_KEY_H_

#include <string>

#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

struct IdempotencyKey {
  std::string tenant;
  std::string request_id;
  // SHA-256 of the serialised request, 32 bytes. Requests with the same meaning but different bytes
  // are different, such as a field left out and the same field set to its default.
  std::string request_hash;
};

// Makes the key of a request. `request_id` must be valid (request_id.h).
IdempotencyKey MakeIdempotencyKey(const std::string& tenant, const v1::GenerateRequest& request);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_KEY_H_
