#include "server/rpc/grpc_status.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "base/error_details.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace skipstream {
namespace {

// The message travels percent-encoded and once more inside the details, which travel in base64:
// 3 * 1000 + 4 / 3 * (1000 + 1500) stays under 8 KB in the worst case.
constexpr size_t kMaxMessageBytes = 1000;
constexpr size_t kMaxViolationsBytes = 1500;
constexpr size_t kMaxTextBytes = 400;

std::string Cut(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  constexpr absl::string_view kEllipsis = "...";
  size_t end = max_bytes - kEllipsis.size();
  // Not in the middle of a UTF-8 sequence: continuation bytes are 10xxxxxx.
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + std::string(kEllipsis);
}

void AddViolations(const std::vector<FieldViolation>& violations, google::rpc::Status& details) {
  google::rpc::BadRequest bad_request;
  for (const FieldViolation& violation : violations) {
    google::rpc::BadRequest::FieldViolation added;
    added.set_field(Cut(violation.field, kMaxTextBytes));
    added.set_description(Cut(violation.description, kMaxTextBytes));
    if (bad_request.ByteSizeLong() + added.ByteSizeLong() > kMaxViolationsBytes) break;
    *bad_request.add_field_violations() = std::move(added);
  }
  details.add_details()->PackFrom(bad_request);
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Cut(status.message(), kMaxMessageBytes);

  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  if (const std::vector<FieldViolation> violations = GetFieldViolations(status);
      !violations.empty()) {
    AddViolations(violations, details);
  }
  if (const std::optional<absl::Duration> delay = GetRetryAfter(status)) {
    google::rpc::RetryInfo retry;
    const absl::Duration positive = std::max(*delay, absl::ZeroDuration());
    absl::Duration rest;
    const int64_t seconds = absl::IDivDuration(positive, absl::Seconds(1), &rest);
    retry.mutable_retry_delay()->set_seconds(seconds);
    retry.mutable_retry_delay()->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(rest)));
    details.add_details()->PackFrom(retry);
  }
  if (const std::string reason = GetReason(status); !reason.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(Cut(reason, kMaxTextBytes));
    info.set_domain(kErrorDomain);
    details.add_details()->PackFrom(info);
  }
  // absl and gRPC number the codes alike.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

}  // namespace skipstream
