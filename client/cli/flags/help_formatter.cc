#include "client/cli/flags/help_formatter.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace skipstream::cli {
namespace {

constexpr int kWidth = 96;
constexpr int kDescriptionColumn = 30;

}  // namespace

std::string WrapWords(absl::string_view text, int width, int indent) {
  std::string wrapped;
  size_t line_length = 0;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (line_length > 0 && line_length + 1 + word.size() > static_cast<size_t>(width - indent)) {
      absl::StrAppend(&wrapped, "\n", std::string(indent, ' '));
      line_length = 0;
    }
    absl::StrAppend(&wrapped, line_length > 0 ? " " : "", word);
    line_length += word.size() + (line_length > 0 ? 1 : 0);
  }
  return wrapped + "\n";
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string line = absl::StrCat("  ", option->get_name(is_positional, true));
  if (!option->get_type_name().empty()) absl::StrAppend(&line, " ", option->get_type_name());
  line += line.size() + 2 > kDescriptionColumn ? "\n" + std::string(kDescriptionColumn, ' ')
                                               : std::string(kDescriptionColumn - line.size(), ' ');
  return line + WrapWords(option->get_description(), kWidth, kDescriptionColumn);
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return WrapWords(app->get_description(), kWidth, 0);
}

}  // namespace skipstream::cli
