// W3C Trace Context, level 1: which trace a call belongs to.
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

// Nothing unless `traceparent` is valid to the letter; what a later version says beyond version 00
// is left out, as the standard asks.
std::optional<TraceContext> ParseTraceparent(absl::string_view traceparent);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_TRACE_CONTEXT_H_
