#include "client/cli/output/enum_words.h"

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace skipstream::cli {
namespace {

// Ends the name of the value <PREFIX>_UNSPECIFIED = 0 that every enum of the API begins with.
constexpr absl::string_view kUnspecified = "UNSPECIFIED";

std::string Word(const google::protobuf::EnumValueDescriptor& value) {
  const absl::string_view prefix =
      absl::StripSuffix(value.type()->FindValueByNumber(0)->name(), kUnspecified);
  return absl::AsciiStrToLower(absl::StripPrefix(value.name(), prefix));
}

}  // namespace

std::vector<std::string> WordsOf(const google::protobuf::EnumDescriptor& type) {
  std::vector<std::string> words;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) words.push_back(Word(*type.value(i)));
  }
  return words;
}

std::optional<int> NumberOf(const google::protobuf::EnumDescriptor& type, absl::string_view word) {
  for (int i = 0; i < type.value_count(); ++i) {
    const google::protobuf::EnumValueDescriptor& value = *type.value(i);
    if (value.number() != 0 && Word(value) == word) return value.number();
  }
  return std::nullopt;
}

std::string WordFor(const google::protobuf::EnumDescriptor& type, int number) {
  const google::protobuf::EnumValueDescriptor* value = type.FindValueByNumber(number);
  return value == nullptr || number == 0 ? "" : Word(*value);
}

}  // namespace skipstream::cli
