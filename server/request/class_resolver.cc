#include "server/request/class_resolver.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace skipstream {
namespace {

constexpr size_t kMaxSuggestions = 3;
constexpr size_t kMaxTypos = 2;

// Levenshtein distance.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

bool IsNear(absl::string_view wanted, absl::string_view name) {
  if (absl::StrContains(name, wanted) || absl::StrContains(wanted, name)) return true;
  // The distance is at least the difference of the lengths.
  const size_t longer = std::max(wanted.size(), name.size());
  const size_t shorter = std::min(wanted.size(), name.size());
  return longer - shorter <= kMaxTypos && EditDistance(wanted, name) <= kMaxTypos;
}

std::string Suggestions(absl::string_view wanted, const std::vector<std::string>& names) {
  std::vector<std::string> near;
  const std::string lower = absl::AsciiStrToLower(wanted);
  for (const std::string& name : names) {
    if (near.size() == kMaxSuggestions) break;
    if (!lower.empty() && IsNear(lower, absl::AsciiStrToLower(name))) near.push_back(Quoted(name));
  }
  return near.empty() ? "" : absl::StrCat("; did you mean ", absl::StrJoin(near, " or "), "?");
}

std::optional<int> ClassByName(const std::string& field, const std::string& name,
                               const NetworkInfo& model, Violations& violations) {
  if (!violations.CheckName(field, name)) return std::nullopt;
  const auto found = std::find(model.class_names.begin(), model.class_names.end(), name);
  if (found != model.class_names.end()) {
    return static_cast<int>(found - model.class_names.begin());
  }
  const std::string indexes = absl::StrCat("an index between 0 and ", model.num_classes - 1);
  if (model.class_names.empty()) {
    violations.Add(
        field, absl::StrCat("must be ", indexes, ": the classes of this model have no names, got ",
                            Quoted(name)));
  } else {
    // Looking for near names is not free: only where somebody will read them.
    const std::string near = violations.HasRoom() ? Suggestions(name, model.class_names) : "";
    violations.Add(field, absl::StrCat("must be one of the ", model.num_classes,
                                       " class names that GetModel lists, or ", indexes, ", got ",
                                       Quoted(name), near));
  }
  return std::nullopt;
}

std::optional<int> ResolveClass(const std::string& field, const v1::ClassSelector& selector,
                                const NetworkInfo& model, Violations& violations) {
  switch (selector.selector_case()) {
    case v1::ClassSelector::kIndex:
      if (!violations.CheckRange(field + ".index", int64_t{selector.index()}, 0,
                                 model.num_classes - 1)) {
        return std::nullopt;
      }
      return selector.index();
    case v1::ClassSelector::kName:
      return ClassByName(field + ".name", selector.name(), model, violations);
    case v1::ClassSelector::SELECTOR_NOT_SET:
      break;
  }
  violations.Add(field, "must have index or name set");
  return std::nullopt;
}

}  // namespace

std::optional<std::vector<int>> ResolveClasses(
    const google::protobuf::RepeatedPtrField<v1::ClassSelector>& classes, const NetworkInfo& model,
    const std::vector<uint32_t>& seeds, Violations& violations) {
  if (model.num_classes == 0) {
    if (!classes.empty()) {
      violations.Add("classes", absl::StrCat("must be empty: this model has no classes, got ",
                                             classes.size(), " values"));
      return std::nullopt;
    }
    return std::vector<int>();
  }

  const int count = static_cast<int>(seeds.size());
  std::vector<int> indexes;
  if (classes.empty()) {
    for (uint32_t seed : seeds) {
      indexes.push_back(static_cast<int>(seed % static_cast<uint32_t>(model.num_classes)));
    }
    return indexes;
  }
  if (classes.size() != 1 && classes.size() != count) {
    violations.Add("classes", absl::StrCat("must have 0, 1 or ", count, " values for ", count,
                                           " images, got ", classes.size()));
    return std::nullopt;
  }
  bool valid = true;
  for (int i = 0; i < classes.size(); ++i) {
    const std::optional<int> index =
        ResolveClass(absl::StrCat("classes[", i, "]"), classes[i], model, violations);
    valid &= index.has_value();
    if (valid) indexes.push_back(*index);
  }
  if (!valid) return std::nullopt;
  indexes.resize(count, indexes.front());
  return indexes;
}

}  // namespace skipstream
