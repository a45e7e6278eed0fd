// Machine-readable details carried inside absl::Status between the layers, without protobuf. The
// transport turns them into google.rpc details (BadRequest, RetryInfo, ErrorInfo) at the edge.
#ifndef SKIPSTREAM_BASE_ERROR_DETAILS_H_
#define SKIPSTREAM_BASE_ERROR_DETAILS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace skipstream {

// "INVALID_ARGUMENT", as metrics and logs name it.
std::string StatusCodeName(const absl::Status& status);

struct FieldViolation {
  std::string field;        // path in the request, e.g. "sampler.nfe" or "seeds[3]"
  std::string description;  // what is wrong and what would be valid
};

// InvalidArgument whose message lists the violations and whose details carry them one by one.
// At least one violation.
absl::Status InvalidArgumentWithViolations(const std::vector<FieldViolation>& violations);
std::vector<FieldViolation> GetFieldViolations(const absl::Status& status);

// When a retry is worth while. Absent: a retry would not help.
void SetRetryAfter(absl::Status& status, absl::Duration delay);
std::optional<absl::Duration> GetRetryAfter(const absl::Status& status);

// ErrorInfo.reason: UPPER_SNAKE_CASE, e.g. "QUEUE_FULL", "DRAINING", "EXECUTOR_FAILED".
void SetReason(absl::Status& status, absl::string_view reason);
std::string GetReason(const absl::Status& status);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_ERROR_DETAILS_H_
