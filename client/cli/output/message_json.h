// JSON as the command prints it.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_MESSAGE_JSON_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_MESSAGE_JSON_H_

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>

namespace skipstream::cli {

inline constexpr int kOneLine = -1;

// Ends in '\n'. Text that is no UTF-8, such as the name of a file, gets U+FFFD in place of the
// bytes that are none. A terminal may show it: control characters are escaped.
std::string DumpJson(const nlohmann::ordered_json& json, int indent = 2);

// On one line, fields that are not set left out: what RequestFromJson() reads.
std::string MessageToJson(const google::protobuf::Message& message);

// For people and scripts: several lines, ending in '\n', names as in the .proto files, every field.
std::string MessageToPrettyJson(const google::protobuf::Message& message);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_MESSAGE_JSON_H_
