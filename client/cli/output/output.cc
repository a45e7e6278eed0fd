#include "client/cli/output/output.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "client/cli/output/user_errors.h"

namespace skipstream::cli {

absl::Status WriteOutput(absl::string_view data) {
  const int error = WriteAll(STDOUT_FILENO, data);
  if (error == 0) return absl::OkStatus();
  const std::string message = absl::StrCat("cannot write standard output: ", strerror(error));
  return error == EPIPE ? absl::AbortedError(message) : absl::InternalError(message);
}

int PrintOutput(absl::string_view text, int exit_code) {
  const absl::Status status = WriteOutput(text);
  return status.ok() ? exit_code : ReportLostOutput(status);
}

int ReportLostOutput(const absl::Status& status, absl::string_view consequence) {
  if (!absl::IsAborted(status)) {
    std::cerr << "error: " << status.message() << (consequence.empty() ? "" : ": ") << consequence
              << "\n";
  }
  return kExitFailure;
}

bool IsStandardOutput(const char* path) {
  struct stat file = {};
  struct stat output = {};
  return stat(path, &file) == 0 && fstat(STDOUT_FILENO, &output) == 0 &&
         file.st_dev == output.st_dev && file.st_ino == output.st_ino;
}

}  // namespace skipstream::cli
