// Loads requests from disk: a JSON file, or the text chunk of a PNG that a server made.
#ifndef SKIPSTREAM_CLIENT_CLI_FLAGS_REQUEST_FILE_H_
#define SKIPSTREAM_CLIENT_CLI_FLAGS_REQUEST_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream::cli {

// Loads a request. A PNG is recognised by its signature, anything else has to be the JSON form of a
// GenerateRequest. The message of an error begins with `path`.
absl::StatusOr<v1::GenerateRequest> LoadRequest(const std::string& path);

// Parses the JSON form of a GenerateRequest; unknown fields are an error.
absl::StatusOr<v1::GenerateRequest> RequestFromJson(absl::string_view json);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_FLAGS_REQUEST_FILE_H_
