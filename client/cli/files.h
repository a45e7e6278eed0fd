// Reading and writing files, with errors a person can act on.
#ifndef SKIPSTREAM_CLIENT_CLI_FILES_H_
#define SKIPSTREAM_CLIENT_CLI_FILES_H_

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace skipstream::cli {

// InvalidArgument for a folder and for more than `max_bytes`, of which no more is read.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t max_bytes = std::numeric_limits<uint64_t>::max());

// Through a temporary file beside it: `path` holds either what it held before or all of `data`.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view data);

// NotFound if the folder that is to hold `path` does not exist: known before hours of work are
// lost.
absl::Status CheckFolderOf(const std::string& path);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_FILES_H_
