// Draws ids that name a request over its tries. Internal to the client library and the command.
#ifndef SKIPSTREAM_CLIENT_CC_REQUEST_ID_H_
#define SKIPSTREAM_CLIENT_CC_REQUEST_ID_H_

#include <random>
#include <string>

#include "absl/random/bit_gen_ref.h"

namespace skipstream::client {

// Returns 128 random bits in hexadecimal.
std::string DrawRequestId(absl::BitGenRef random);

// Returns the source of the seeds of a request with an id but no seeds. Sent again with that id,
// even by another process, it has to be the same request.
std::mt19937 SeedSourceOf(const std::string& request_id);

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_REQUEST_ID_H_
