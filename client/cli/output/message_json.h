// Formats JSON as the command prints it.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_MESSAGE_JSON_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_MESSAGE_JSON_H_

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>

namespace skipstream::cli {

inline constexpr int kOneLine = -1;

// Formats `json`, ending in '\n'. In text that is no UTF-8, such as the name of a file, U+FFFD
// replaces the invalid bytes. Control characters are escaped, since a terminal may show the text.
std::string DumpJson(const nlohmann::ordered_json& json, int indent = 2);

// Formats on one line, with unset fields left out; RequestFromJson() reads this form.
std::string MessageToJson(const google::protobuf::Message& message);

// Formats for people and scripts: several lines, ending in '\n', names as in the .proto files,
// every field.
std::string MessageToPrettyJson(const google::protobuf::Message& message);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_MESSAGE_JSON_H_
