// Validates and draws the ids that name requests in logs and answers.
#ifndef SKIPSTREAM_SERVER_REQUEST_REQUEST_ID_H_
#define SKIPSTREAM_SERVER_REQUEST_REQUEST_ID_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace skipstream {

inline constexpr size_t kMaxRequestIdBytes = 128;

// Returns true for an id that clients may choose: 1 to kMaxRequestIdBytes printable ASCII
// characters.
bool IsValidRequestId(absl::string_view id);

// Draws an id for a request that came without one: 128 random bits in hexadecimal. Thread-safe.
std::string DrawRequestId();

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_REQUEST_ID_H_
