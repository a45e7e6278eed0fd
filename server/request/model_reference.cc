#include "server/request/model_reference.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/error_details.h"

namespace skipstream {
namespace {

constexpr size_t kMaxModelNameBytes = 64;
constexpr size_t kSha256Digits = 64;

bool IsSha256(absl::string_view text) {
  return text.size() == kSha256Digits && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

absl::Status ValidateModelName(absl::string_view name) {
  const bool valid = !name.empty() && name.size() <= kMaxModelNameBytes &&
                     absl::ascii_isalnum(name.front()) &&
                     std::all_of(name.begin(), name.end(), [](char c) {
                       return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
                     });
  if (valid) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "must be 1 to ", kMaxModelNameBytes,
      " letters, digits, '.', '_' or '-', starting with a letter or digit, got ", Quoted(name)));
}

void CheckModelReference(const ModelReference& reference, Violations& violations) {
  if (!reference.name.empty()) {
    absl::Status name = ValidateModelName(reference.name);
    if (!name.ok()) violations.Add(reference.field, std::string(name.message()));
  }
  if (!reference.sha256.empty() && !IsSha256(reference.sha256)) {
    violations.Add(reference.field + "_sha256",
                   absl::StrCat("must be ", kSha256Digits, " lower-case hex digits, got ",
                                Quoted(reference.sha256)));
  }
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> FindModel(const ModelReference& reference,
                                                             const ModelRegistry& models) {
  absl::StatusOr<std::shared_ptr<const LoadedModel>> model = models.Find(reference.name);
  if (!model.ok()) {
    return absl::Status(model.status().code(),
                        absl::StrCat(reference.field, ": ", model.status().message()));
  }
  if (!reference.sha256.empty() && reference.sha256 != (*model)->info().sha256) {
    absl::Status status = absl::FailedPreconditionError(
        absl::StrCat(reference.field, "_sha256: model ", Quoted((*model)->name()), " has SHA-256 ",
                     (*model)->info().sha256, ", not ", reference.sha256));
    SetReason(status, "MODEL_CHANGED");
    return status;
  }
  return model;
}

}  // namespace skipstream
