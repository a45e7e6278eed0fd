// Protobuf messages as JSON.
#ifndef SKIPSTREAM_CLIENT_CLI_MESSAGE_JSON_H_
#define SKIPSTREAM_CLIENT_CLI_MESSAGE_JSON_H_

#include <google/protobuf/message.h>

#include <string>

namespace skipstream::cli {

// On one line, fields that are not set left out: what RequestFromJson() reads.
std::string MessageToJson(const google::protobuf::Message& message);

// For people and scripts: several lines, ending in '\n', names as in the .proto files, every field.
std::string MessageToPrettyJson(const google::protobuf::Message& message);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_MESSAGE_JSON_H_
