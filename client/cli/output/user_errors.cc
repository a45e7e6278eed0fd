#include "client/cli/output/user_errors.h"

#include <iostream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cc/rpc_status.h"
#include "client/cli/output/text.h"

namespace skipstream::cli {
namespace {

std::string ExplainViolations(const std::vector<client::FieldViolation>& violations) {
  std::string text = "error: the server refused the request\n";
  for (const client::FieldViolation& violation : violations) {
    absl::StrAppend(&text, "  ", Printable(violation.field), ": ", Printable(violation.description),
                    "\n");
  }
  return text;
}

std::string ExplainUnavailable(absl::string_view message, const std::string& server) {
  return absl::StrCat("error: no answer from a server at ", server, "\n  ", message,
                      "\n  start one with:   skipstream-server\n"
                      "  or name another:  --server HOST:PORT (or set SKIPSTREAM_SERVER)\n");
}

}  // namespace

std::string ExplainError(const absl::Status& status, const std::string& server_flag) {
  const std::string message = Printable(status.message());
  const std::string server = Printable(server_flag);
  if (const auto violations = client::GetFieldViolations(status); !violations.empty()) {
    return ExplainViolations(violations);
  }
  if (absl::IsUnavailable(status)) {
    // A server that is there says why (ErrorInfo); gRPC itself does not.
    if (client::GetErrorReason(status).empty()) return ExplainUnavailable(message, server);
    return absl::StrCat("error: the server at ", server, " takes no requests: ", message, "\n");
  }
  if (absl::IsDeadlineExceeded(status)) {
    return absl::StrCat("error: not done in time (--timeout): ", message, "\n");
  }
  std::string text = absl::StrCat("error: ", message.empty() ? status.ToString() : message, "\n");
  if (const auto delay = client::GetRetryDelay(status)) {
    absl::StrAppend(&text, "  the server suggests to try again in ", absl::FormatDuration(*delay),
                    "\n");
  }
  return text;
}

int ReportError(const absl::Status& status, const std::string& server) {
  std::cerr << ExplainError(status, server);
  return kExitFailure;
}

int ReportFlagError(const absl::Status& status) {
  std::cerr << "error: " << Printable(status.message()) << "\n";
  return absl::IsInvalidArgument(status) ? kExitUsage : kExitFailure;
}

}  // namespace skipstream::cli
