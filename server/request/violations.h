// Collects all mistakes of a request, so that the caller gets them all at once.
#ifndef SKIPSTREAM_SERVER_REQUEST_VIOLATIONS_H_
#define SKIPSTREAM_SERVER_REQUEST_VIOLATIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/error_details.h"

namespace google::protobuf {
class Message;
}

namespace skipstream {

// Limits the name (model, class, preset, file) that a request may carry.
inline constexpr size_t kMaxNameBytes = 256;

// Returns `text` in quotes, escaped, cut to a length fit for a message.
std::string Quoted(absl::string_view text);

class Violations {
 public:
  // Adds a violation. `field` is a path in the request ("sampler.nfe", "seeds[3]"); `description`
  // says what would be valid. Only the first kMaxReported are kept; the rest are counted.
  void Add(std::string field, std::string description);

  // Each returns true if the value is valid and adds a violation if it is not. `note` is appended
  // to the description ("for this model").
  bool CheckRange(std::string field, int64_t value, int64_t min, int64_t max,
                  absl::string_view note = "");
  // Refuses NaN and infinity too. With `above_min`, min itself is not valid.
  bool CheckRange(std::string field, double value, double min, double max, bool above_min = false,
                  absl::string_view note = "");
  bool CheckName(std::string field, absl::string_view name);

  // Refuses fields that this build does not know, in `message` and everything inside it: ignoring
  // them would do something else than was asked.
  void CheckNoUnknownFields(const google::protobuf::Message& message, const std::string& path = "");

  bool empty() const { return kept_.empty(); }
  // Returns false when a further violation would only be counted.
  bool HasRoom() const { return kept_.size() < kMaxReported; }

  // Returns InvalidArgument with details. Needs at least one violation.
  absl::Status ToStatus() const;

 private:
  static constexpr size_t kMaxReported = 16;

  std::vector<FieldViolation> kept_;
  size_t not_kept_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_VIOLATIONS_H_
