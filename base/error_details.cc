#include "base/error_details.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace skipstream {
namespace {

// Payloads of absl::Status. Texts are written as "<length>:<bytes>", so they may hold anything.
constexpr absl::string_view kViolations = "skipstream/field_violations";
constexpr absl::string_view kRetryAfter = "skipstream/retry_after";
constexpr absl::string_view kReason = "skipstream/reason";

void AppendText(std::string& out, absl::string_view text) {
  absl::StrAppend(&out, text.size(), ":", text);
}

// Takes one text off the front of `in`.
std::string TakeText(absl::string_view& in) {
  const size_t colon = in.find(':');
  size_t length = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(in.substr(0, colon), &length)) {
    in = {};
    return "";
  }
  in.remove_prefix(colon + 1);
  const std::string text(in.substr(0, length));
  in.remove_prefix(text.size());
  return text;
}

std::optional<std::string> GetText(const absl::Status& status, absl::string_view url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  if (!payload) return std::nullopt;
  return std::string(*payload);
}

}  // namespace

std::string StatusCodeName(const absl::Status& status) {
  return absl::StatusCodeToString(status.code());
}

absl::Status InvalidArgumentWithViolations(const std::vector<FieldViolation>& violations) {
  std::string encoded;
  for (const FieldViolation& violation : violations) {
    AppendText(encoded, violation.field);
    AppendText(encoded, violation.description);
  }
  absl::Status status = absl::InvalidArgumentError(
      absl::StrJoin(violations, "; ", [](std::string* out, const FieldViolation& violation) {
        absl::StrAppend(out, violation.field, ": ", violation.description);
      }));
  status.SetPayload(kViolations, absl::Cord(encoded));
  return status;
}

std::vector<FieldViolation> GetFieldViolations(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  const std::string encoded = GetText(status, kViolations).value_or("");
  absl::string_view rest = encoded;
  while (!rest.empty()) {
    FieldViolation violation;
    violation.field = TakeText(rest);
    violation.description = TakeText(rest);
    violations.push_back(violation);
  }
  return violations;
}

void SetRetryAfter(absl::Status& status, absl::Duration delay) {
  status.SetPayload(kRetryAfter, absl::Cord(absl::StrCat(absl::ToInt64Nanoseconds(delay))));
}

std::optional<absl::Duration> GetRetryAfter(const absl::Status& status) {
  const std::optional<std::string> text = GetText(status, kRetryAfter);
  int64_t nanoseconds = 0;
  if (!text || !absl::SimpleAtoi(*text, &nanoseconds)) return std::nullopt;
  return absl::Nanoseconds(nanoseconds);
}

void SetReason(absl::Status& status, absl::string_view reason) {
  status.SetPayload(kReason, absl::Cord(reason));
}

std::string GetReason(const absl::Status& status) { return GetText(status, kReason).value_or(""); }

}  // namespace skipstream
