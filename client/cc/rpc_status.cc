#include "client/cc/rpc_status.h"

#include <google/protobuf/any.pb.h>
#include <grpcpp/support/status.h>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace skipstream::client {
namespace {

template <typename Detail>
std::string TypeUrl() {
  return absl::StrCat("type.googleapis.com/", Detail::descriptor()->full_name());
}

template <typename Detail>
std::optional<Detail> GetDetail(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(TypeUrl<Detail>());
  Detail detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return result;
  for (const google::protobuf::Any& detail : rich.details()) {
    result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }

  std::string message = status.error_message();
  for (const FieldViolation& violation : GetFieldViolations(result)) {
    const bool said_already = absl::StrContains(message, violation.field) &&
                              absl::StrContains(message, violation.description);
    if (said_already) continue;
    absl::StrAppend(&message, message.empty() ? "" : "; ", violation.field, ": ",
                    violation.description);
  }
  absl::Status readable(result.code(), message);
  result.ForEachPayload([&readable](absl::string_view type_url, const absl::Cord& payload) {
    readable.SetPayload(type_url, payload);
  });
  return readable;
}

std::vector<FieldViolation> GetFieldViolations(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  if (const auto bad_request = GetDetail<google::rpc::BadRequest>(status)) {
    for (const auto& violation : bad_request->field_violations()) {
      violations.push_back({violation.field(), violation.description()});
    }
  }
  return violations;
}

std::optional<absl::Duration> GetRetryDelay(const absl::Status& status) {
  const auto retry_info = GetDetail<google::rpc::RetryInfo>(status);
  if (!retry_info || !retry_info->has_retry_delay()) return std::nullopt;
  return absl::Seconds(retry_info->retry_delay().seconds()) +
         absl::Nanoseconds(retry_info->retry_delay().nanos());
}

std::string GetErrorReason(const absl::Status& status) {
  const auto info = GetDetail<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

}  // namespace skipstream::client
