// Spells the enums of the API as flags and output do: SOLVER_DPMPP_2M is "dpmpp_2m". The words are
// read from the API's own description, so that a new value needs no second list.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_ENUM_WORDS_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_ENUM_WORDS_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/generated_enum_reflection.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace skipstream::cli {

// Returns the words of an enum in the order of the API, without its UNSPECIFIED value.
std::vector<std::string> WordsOf(const google::protobuf::EnumDescriptor& type);

// Returns nullopt if `word` is none of WordsOf().
std::optional<int> NumberOf(const google::protobuf::EnumDescriptor& type, absl::string_view word);

// Returns an empty word for the UNSPECIFIED value and for a number that this client does not know.
std::string WordFor(const google::protobuf::EnumDescriptor& type, int number);

template <typename Enum>
std::vector<std::string> WordsOf() {
  return WordsOf(*google::protobuf::GetEnumDescriptor<Enum>());
}

template <typename Enum>
std::optional<Enum> FromWord(absl::string_view word) {
  const std::optional<int> number = NumberOf(*google::protobuf::GetEnumDescriptor<Enum>(), word);
  if (!number) return std::nullopt;
  return static_cast<Enum>(*number);
}

template <typename Enum>
std::string ToWord(Enum value) {
  return WordFor(*google::protobuf::GetEnumDescriptor<Enum>(), value);
}

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_ENUM_WORDS_H_
