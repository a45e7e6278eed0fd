// Parses W3C Trace Context, level 1: the trace that a call belongs to.
#ifndef SKIPSTREAM_SERVER_RPC_TRACE_CONTEXT_H_
#define SKIPSTREAM_SERVER_RPC_TRACE_CONTEXT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace skipstream {

inline constexpr char kTraceparent[] = "traceparent";

struct TraceContext {
  std::string traceparent;  // "00-<trace_id>-<parent_id>-<flags>"
  std::string trace_id;     // 32 hexadecimal digits
};

// Returns nothing unless `traceparent` is valid to the letter. Parts that a later version adds to
// version 00 are left out, as the standard asks.
std::optional<TraceContext> ParseTraceparent(absl::string_view traceparent);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_TRACE_CONTEXT_H_
