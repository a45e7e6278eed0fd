#include "client/cli/output/message_json.h"

#include <google/protobuf/util/json_util.h>

#include "client/cli/output/text.h"

namespace skipstream::cli {
namespace {

// Every message of our schema has a JSON form (none holds an Any), so the status is always OK.
std::string ToJson(const google::protobuf::Message& message,
                   const google::protobuf::util::JsonPrintOptions& options) {
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

}  // namespace

std::string DumpJson(const nlohmann::ordered_json& json, int indent) {
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  return PrintableJson(json.dump(indent, ' ', /*ensure_ascii=*/false, kReplace)) + "\n";
}

std::string MessageToJson(const google::protobuf::Message& message) { return ToJson(message, {}); }

std::string MessageToPrettyJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  return PrintableJson(ToJson(message, options));
}

}  // namespace skipstream::cli
