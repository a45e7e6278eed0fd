#include "server/rpc/trace_context.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

// version "-" trace-id "-" parent-id "-" flags
constexpr size_t kBytes = 2 + 1 + 32 + 1 + 16 + 1 + 2;

bool IsLowerHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '0'; });
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(absl::string_view traceparent) {
  if (traceparent.size() < kBytes) return std::nullopt;
  const absl::string_view version = traceparent.substr(0, 2);
  const absl::string_view trace_id = traceparent.substr(3, 32);
  const absl::string_view parent_id = traceparent.substr(36, 16);
  const absl::string_view flags = traceparent.substr(53, 2);
  const bool separated = traceparent[2] == '-' && traceparent[35] == '-' && traceparent[52] == '-';
  if (!separated || !IsLowerHex(version) || version == "ff" || !IsLowerHex(trace_id) ||
      IsZero(trace_id) || !IsLowerHex(parent_id) || IsZero(parent_id) || !IsLowerHex(flags)) {
    return std::nullopt;
  }
  const bool longer = traceparent.size() > kBytes;
  if (longer && (version == "00" || traceparent[kBytes] != '-')) return std::nullopt;
  return TraceContext{.traceparent = absl::StrCat("00-", trace_id, "-", parent_id, "-", flags),
                      .trace_id = std::string(trace_id)};
}

}  // namespace skipstream
