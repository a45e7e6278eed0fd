#include "base/quoted_name.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace skipstream {

std::string QuotedName(std::string_view name) {
  constexpr size_t kShown = 120;
  return absl::StrCat("'", absl::CHexEscape(std::string(name.substr(0, kShown))),
                      name.size() > kShown ? "...'" : "'");
}

}  // namespace skipstream
