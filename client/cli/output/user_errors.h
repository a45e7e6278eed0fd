// Formats errors for a person at a terminal.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_USER_ERRORS_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_USER_ERRORS_H_

#include <string>

#include "absl/status/status.h"

namespace skipstream::cli {

// Exit codes of the command.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
// 128 + signal when interrupted: 130 after Ctrl-C.

// Returns one line or several, each ending in '\n': what is wrong, field by field, and what to do
// about it. Control characters are escaped.
std::string ExplainError(const absl::Status& status, const std::string& server);

// Writes that to standard error; returns kExitFailure.
int ReportError(const absl::Status& status, const std::string& server);

// Writes to standard error what is wrong with the flags, or with a file they name; returns the exit
// code.
int ReportFlagError(const absl::Status& status);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_USER_ERRORS_H_
