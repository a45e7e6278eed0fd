// Builds the flags of `skipstream generate` on top of CLI11.
#ifndef SKIPSTREAM_CLIENT_CLI_FLAGS_FLAG_HELPERS_H_
#define SKIPSTREAM_CLIENT_CLI_FLAGS_FLAG_HELPERS_H_

#include <CLI/CLI.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/cli/output/enum_words.h"
#include "client/cli/output/text.h"

namespace skipstream::cli {

// Accepts texts that a request can carry.
inline CLI::Validator Utf8() {
  return CLI::Validator(
      [](const std::string& text) {
        return IsUtf8(text) ? "" : absl::StrCat("'", Printable(text), "' is not UTF-8");
      },
      "");
}

// Accepts numbers; "nan" and "inf" are none.
inline CLI::Validator Number() {
  return CLI::Validator(
      [](const std::string& text) {
        double value;
        const bool valid = absl::SimpleAtod(text, &value) && std::isfinite(value);
        return valid ? "" : absl::StrCat("'", text, "' is not a number");
      },
      "");
}

// Adds --timeout: seconds, above 0.
inline CLI::Option* AddTimeoutFlag(CLI::App& command, double& seconds,
                                   const std::string& default_value) {
  return command
      .add_option("--timeout", seconds,
                  absl::StrCat("Give up after so long (default: ", default_value, ")"))
      ->type_name("SECONDS")
      ->check(Number())
      ->check(CLI::PositiveNumber.description(""));
}

// Returns the parsed value of a flag's text; CLI11 reports errors by exception.
template <typename T>
T ValueOrThrow(const std::string& flag, absl::StatusOr<T> parsed) {
  if (!parsed.ok()) throw CLI::ValidationError(flag, std::string(parsed.status().message()));
  return *std::move(parsed);
}

// Adds a flag that may be repeated; every occurrence is a list.
template <typename T>
CLI::Option* AddList(CLI::App& command, const std::string& flag, std::vector<T>& values,
                     absl::StatusOr<std::vector<T>> (*parse)(absl::string_view),
                     const std::string& help, const std::string& type) {
  const auto append = [flag, parse, &values](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      for (T& value : ValueOrThrow(flag, parse(text))) values.push_back(std::move(value));
    }
  };
  return command.add_option_function<std::vector<std::string>>(flag, append, help)
      ->allow_extra_args(false)
      ->type_name(type)
      ->check(Utf8());
}

// Adds a flag with one value that goes to `use`: a finite number, or text that a request can carry.
template <typename T>
CLI::Option* AddValue(CLI::App& command, const std::string& flag, std::function<void(T)> use,
                      const std::string& help, const std::string& type) {
  CLI::Option* option =
      command.add_option_function<T>(
                 flag, [use](const T& value) { use(value); }, help)
          ->type_name(type);
  if constexpr (std::is_floating_point_v<T>) option->check(Number());
  if constexpr (std::is_same_v<T, std::string>) option->check(Utf8());
  return option;
}

// Adds a flag with one value that `parse` converts for `use`.
template <typename T>
CLI::Option* AddParsed(CLI::App& command, const std::string& flag,
                       absl::StatusOr<T> (*parse)(absl::string_view), std::function<void(T)> use,
                       const std::string& help, const std::string& type) {
  return AddValue<std::string>(
      command, flag,
      [flag, parse, use](const std::string& text) { use(ValueOrThrow(flag, parse(text))); }, help,
      type);
}

// Adds a flag whose value is one of a few words.
inline CLI::Option* AddWord(CLI::App& command, const std::string& flag,
                            const std::vector<std::string>& words,
                            std::function<void(std::string)> use, const std::string& help) {
  return AddValue<std::string>(command, flag, std::move(use), help, absl::StrJoin(words, "|"))
      ->check(CLI::IsMember(words).description(""));
}

// Adds a flag whose value is a word of an enum of the API.
template <typename Enum>
CLI::Option* AddChoice(CLI::App& command, const std::string& flag, std::function<void(Enum)> use,
                       const std::string& help) {
  return AddWord(
      command, flag, WordsOf<Enum>(),
      [use](const std::string& word) { use(*FromWord<Enum>(word)); }, help);
}

inline void Exclusive(const std::vector<CLI::Option*>& options) {
  for (CLI::Option* a : options) {
    for (CLI::Option* b : options) {
      if (a != b) a->excludes(b);
    }
  }
}

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_FLAGS_FLAG_HELPERS_H_
