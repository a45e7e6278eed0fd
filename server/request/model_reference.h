// Validates and finds the models that requests name.
#ifndef SKIPSTREAM_SERVER_REQUEST_MODEL_REFERENCE_H_
#define SKIPSTREAM_SERVER_REQUEST_MODEL_REFERENCE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/model_registry.h"
#include "server/request/violations.h"

namespace skipstream {

// Returns OK if `name` can be the name of a model: 1 to 64 letters, digits, '.', '_' or '-',
// starting with a letter or digit. Otherwise the error says what is valid.
absl::Status ValidateModelName(absl::string_view name);

// Holds a field that names a model, and the one beside it that pins its weights; either may be
// empty.
struct ModelReference {
  std::string field;  // "model"; the other one is field + "_sha256"
  std::string name;
  std::string sha256;
};

// Adds a violation if the name or the digest is malformed.
void CheckModelReference(const ModelReference& reference, Violations& violations);

// Returns the model; an empty name means the default one. NOT_FOUND (listing the known names), or
// FAILED_PRECONDITION with reason MODEL_CHANGED if the model has another digest. The reference must
// be valid.
absl::StatusOr<std::shared_ptr<const LoadedModel>> FindModel(const ModelReference& reference,
                                                             const ModelRegistry& models);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_MODEL_REFERENCE_H_
