// Makes text from outside (servers, files, arguments) fit to be shown.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_TEXT_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace skipstream::cli {

bool IsUtf8(absl::string_view text);

// Escapes text for people: control characters, line ends included, bidirectional overrides and
// bytes that are no UTF-8 become \n, \x1b, \u202e, ...; everything else stays. A terminal then
// shows the text and obeys none of it.
std::string Printable(absl::string_view text);

// Does the same for text with several lines: their ends stay.
std::string PrintableLines(absl::string_view text);

// Does the same for valid `json` without loss: characters that JSON itself does not escape become
// \u202e, ...
std::string PrintableJson(absl::string_view json);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_TEXT_H_
