// Standard output and standard error of the command.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace skipstream::cli {

// Writes to standard output at once, so that nothing is lost unnoticed when the command ends.
absl::Status WriteOutput(absl::string_view data);

// Writes all that a command has to say. Returns `exit_code`; if the output is lost, says so on
// standard error and returns kExitFailure.
int PrintOutput(absl::string_view text, int exit_code);

// Says on standard error that output is lost, and `consequence` if there is one. Says nothing of a
// reader that has left, which is no mishap. Returns kExitFailure.
int ReportLostOutput(const absl::Status& status, absl::string_view consequence = "");

// True if `path` is where standard output goes too: a line about the file would end up in it.
bool IsStandardOutput(const char* path);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_H_
