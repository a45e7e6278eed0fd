// Expands file names with placeholders: {index} {seed} {class} {nfe} {rho} {guidance} {solver}.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_PATTERN_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_PATTERN_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace skipstream::cli {

struct PatternValues {
  int index = 0;       // index of the image, over all images
  int num_images = 1;  // the index is padded with zeros, so that files sort by it
  uint32_t seed = 0;
  std::string class_name;
  int nfe = 0;
  std::string rho;
  std::string guidance;
  std::string solver;
};

bool HasPlaceholders(absl::string_view pattern);

// Returns InvalidArgument that names the first unknown placeholder or an unclosed brace, or OK.
absl::Status ValidatePattern(absl::string_view pattern);

// Fills in a valid `pattern`. Values cannot leave the folder that the pattern names: characters
// other than letters, digits, '.', '_', '-' become '_', also a leading '.'.
std::string ExpandPattern(absl::string_view pattern, const PatternValues& values);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_OUTPUT_PATTERN_H_
