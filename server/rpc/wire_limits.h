// Limits the memory that a message takes before any of its fields is read.
#ifndef SKIPSTREAM_SERVER_RPC_WIRE_LIMITS_H_
#define SKIPSTREAM_SERVER_RPC_WIRE_LIMITS_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}

namespace skipstream {

// Limits the values of a request: fields, elements of packed lists, fields of fields. A field may
// be two bytes on the wire and an object of fifty in memory, so a limit of bytes alone would not
// bound the memory. The longest valid request has fewer than half of this: 1024 classes (two each),
// 1024 seeds, two lists of 1025 noise levels.
inline constexpr int64_t kMaxRequestValues = 16'384;

// Limits the bytes of a request that is a name or two.
inline constexpr size_t kMaxQueryBytes = 64 << 10;

// Parses `buffer` into `message`, which is empty. Nothing is allocated for a message that is larger
// than `max_bytes` (RESOURCE_EXHAUSTED, as gRPC says it) or has more than kMaxRequestValues values
// (INVALID_ARGUMENT, reason TOO_MANY_VALUES). Nothing is kept of one that is not well-formed
// (INVALID_ARGUMENT). An invalid buffer, that of a call which ended without a whole message, is
// INVALID_ARGUMENT too. A buffer without bytes is a message without fields.
absl::Status ParseBounded(const grpc::ByteBuffer& buffer, size_t max_bytes,
                          google::protobuf::Message& message);

grpc::ByteBuffer Serialized(const google::protobuf::Message& message);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_WIRE_LIMITS_H_
