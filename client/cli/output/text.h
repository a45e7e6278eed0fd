// Text from outside (servers, files, arguments) made fit to be shown.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_TEXT_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace skipstream::cli {

bool IsUtf8(absl::string_view text);

// For people: control characters, line ends included, bidirectional overrides and bytes that are no
// UTF-8 become \n, \x1b, \u202e, ...; everything else stays. A terminal then shows the text and
// obeys none of it.
std::string Printable(absl::string_view text);

// The same for what has lines of its own: their ends stay.
std::string PrintableLines(absl::string_view text);

// The same for JSON without loss: what JSON itself leaves alone becomes \u202e, ... `json` is
// valid.
std::string PrintableJson(absl::string_view json);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_TEXT_H_
