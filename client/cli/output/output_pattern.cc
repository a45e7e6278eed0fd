#include "client/cli/output/output_pattern.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace skipstream::cli {
namespace {

constexpr std::array<absl::string_view, 7> kPlaceholders = {"index", "seed",     "class", "nfe",
                                                            "rho",   "guidance", "solver"};

std::string Sanitized(std::string text) {
  for (char& c : text) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '_' && c != '-') c = '_';
  }
  if (!text.empty() && text[0] == '.') text[0] = '_';
  return text;
}

std::string Value(absl::string_view placeholder, const PatternValues& values) {
  if (placeholder == "index") {
    const int digits = static_cast<int>(absl::StrCat(values.num_images - 1).size());
    return absl::StrFormat("%0*d", digits, values.index);
  }
  if (placeholder == "seed") return absl::StrCat(values.seed);
  if (placeholder == "class") return Sanitized(values.class_name);
  if (placeholder == "nfe") return absl::StrCat(values.nfe);
  if (placeholder == "rho") return Sanitized(values.rho);
  if (placeholder == "guidance") return Sanitized(values.guidance);
  return Sanitized(values.solver);
}

}  // namespace

bool HasPlaceholders(absl::string_view pattern) {
  return pattern.find('{') != absl::string_view::npos;
}

absl::Status ValidatePattern(absl::string_view pattern) {
  for (size_t open = pattern.find('{'); open != absl::string_view::npos;
       open = pattern.find('{', open + 1)) {
    const size_t close = pattern.find('}', open);
    const absl::string_view name = pattern.substr(open + 1, close - open - 1);
    if (close == absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("'", pattern, "': a { without a }"));
    }
    if (std::find(kPlaceholders.begin(), kPlaceholders.end(), name) == kPlaceholders.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'{", name, "}' is not a placeholder; there are {index}, {seed}, {class}, {nfe}, {rho}, ",
          "{guidance}, {solver}"));
    }
  }
  return absl::OkStatus();
}

std::string ExpandPattern(absl::string_view pattern, const PatternValues& values) {
  std::string name;
  while (!pattern.empty()) {
    const size_t open = pattern.find('{');
    absl::StrAppend(&name, pattern.substr(0, open));
    if (open == absl::string_view::npos) break;
    const size_t close = pattern.find('}', open);
    absl::StrAppend(&name, Value(pattern.substr(open + 1, close - open - 1), values));
    pattern.remove_prefix(close + 1);
  }
  return name;
}

}  // namespace skipstream::cli
