// What a message may cost before anything of it is read.
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

// A field on the wire may be two bytes and an object of fifty in memory, so that a message within
// the limit of bytes could still take many times as much. What bounds memory is the number of
// values: fields, elements of packed lists, fields of fields. The longest valid request has fewer
// than half of this: 1024 classes (two each), 1024 seeds, two lists of 1025 noise levels.
inline constexpr int64_t kMaxRequestValues = 16'384;

// Bytes of a request that is a name or two.
inline constexpr size_t kMaxQueryBytes = 64 << 10;

// Parses `buffer` into `message`, which is empty. Nothing is allocated for a message that is larger
// than `max_bytes` (RESOURCE_EXHAUSTED, as gRPC says it) or has more than kMaxRequestValues values
// (INVALID_ARGUMENT, reason TOO_MANY_VALUES), and nothing is kept of one that is not well-formed
// (INVALID_ARGUMENT). A buffer that is not valid is INVALID_ARGUMENT too: that of a call which
// ended without a whole message. One without bytes is a message without fields.
absl::Status ParseBounded(const grpc::ByteBuffer& buffer, size_t max_bytes,
                          google::protobuf::Message& message);

grpc::ByteBuffer Serialized(const google::protobuf::Message& message);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_WIRE_LIMITS_H_
