// Writes standard output and standard error of the command.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace skipstream::cli {

// Writes to standard output at once, so that an error shows before the command ends.
absl::Status WriteOutput(absl::string_view data);

// Writes the whole output of a command. Returns `exit_code`; if the output is lost, reports that on
// standard error and returns kExitFailure.
int PrintOutput(absl::string_view text, int exit_code);

// Reports on standard error that output is lost, and `consequence` if there is one. Reports nothing
// if the process that read the output has closed it, which is no mishap. Returns kExitFailure.
int ReportLostOutput(const absl::Status& status, absl::string_view consequence = "");

// Returns true if `path` is where standard output goes too: a line about the file would end up in
// it.
bool IsStandardOutput(const char* path);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_H_
