// Reads JSON objects from untrusted files: sizes are bounded, and duplicate or unread keys are
// errors.
#ifndef SKIPSTREAM_BASE_STRICT_JSON_H_
#define SKIPSTREAM_BASE_STRICT_JSON_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"

namespace skipstream {

// Parses `text`. InvalidArgument, beginning with `what`, if it is longer than `max_bytes`, nested
// deeper than 8, holds a key twice in one object, or is not JSON.
absl::StatusOr<nlohmann::json> ParseStrictJson(const std::string& text, const std::string& what,
                                               size_t max_bytes);

// Reads fields from one object. The first error sticks and every later method does nothing, so the
// caller checks once, with Finish().
class FieldReader {
 public:
  // `what` begins every message, e.g. "config". `object` outlives this.
  FieldReader(const nlohmann::json& object, std::string what);

  bool Has(const std::string& key) const;

  // Each leaves `*value` unchanged if the key is absent, so that the caller sets the default
  // before.
  void Integer(const std::string& key, int64_t min, int64_t max, int* value);
  void Number(const std::string& key, double min, double max, double* value);
  void Boolean(const std::string& key, bool* value);
  void String(const std::string& key, std::string* value);
  void Integers(const std::string& key, int64_t min, int64_t max, size_t max_count,
                std::vector<int>* value);
  void Numbers(const std::string& key, double min, double max, size_t max_count,
               std::vector<double>* value);
  // Returns the value itself and marks it as read; null if the key is absent.
  const nlohmann::json* Raw(const std::string& key);

  // Fails if the key is absent.
  void Require(const std::string& key);

  void Fail(const std::string& key, const std::string& message);
  void Fail(absl::Status status);

  // Returns the first error, or an error that names a key that was not read.
  absl::Status Finish();

 private:
  const nlohmann::json& object_;
  std::string what_;
  absl::Status status_;
  std::set<std::string> read_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_STRICT_JSON_H_
