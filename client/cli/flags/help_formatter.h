// Formats help for a terminal: wrapped, and without the list of exclusions that CLI11 adds to every
// flag.
#ifndef SKIPSTREAM_CLIENT_CLI_FLAGS_HELP_FORMATTER_H_
#define SKIPSTREAM_CLIENT_CLI_FLAGS_HELP_FORMATTER_H_

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/string_view.h"

namespace skipstream::cli {

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_description(const CLI::App* app) const override;
};

// Wraps words in lines of at most `width` columns, the second and later ones indented; ends in
// '\n'.
std::string WrapWords(absl::string_view text, int width, int indent);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_FLAGS_HELP_FORMATTER_H_
