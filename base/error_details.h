// Attaches machine-readable details to absl::Status between the layers, without protobuf. The
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

// Returns the name of the code as metrics and logs spell it, e.g. "INVALID_ARGUMENT".
std::string StatusCodeName(const absl::Status& status);

struct FieldViolation {
  std::string field;        // path in the request, e.g. "sampler.nfe" or "seeds[3]"
  std::string description;  // what is wrong and what would be valid
};

// Returns InvalidArgument whose message lists the violations and whose details carry them one by
// one. Needs at least one violation.
absl::Status InvalidArgumentWithViolations(const std::vector<FieldViolation>& violations);
std::vector<FieldViolation> GetFieldViolations(const absl::Status& status);

// Sets or returns the delay after which a retry is worth while. Absent: a retry would not help.
void SetRetryAfter(absl::Status& status, absl::Duration delay);
std::optional<absl::Duration> GetRetryAfter(const absl::Status& status);

// Sets or returns ErrorInfo.reason in UPPER_SNAKE_CASE, e.g. "QUEUE_FULL", "DRAINING",
// "EXECUTOR_FAILED".
void SetReason(absl::Status& status, absl::string_view reason);
std::string GetReason(const absl::Status& status);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_ERROR_DETAILS_H_
