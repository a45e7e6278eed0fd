#include "server/request/violations.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <cmath>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

constexpr size_t kMaxQuotedBytes = 64;

std::string Joined(absl::string_view path, absl::string_view name) {
  return path.empty() ? std::string(name) : absl::StrCat(path, ".", name);
}

}  // namespace

std::string Quoted(absl::string_view text) {
  absl::string_view shown = text.substr(0, kMaxQuotedBytes);
  if (shown.size() < text.size()) {
    // Not in the middle of a UTF-8 sequence: continuation bytes are 10xxxxxx.
    size_t end = shown.size();
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    shown = shown.substr(0, end);
  }
  std::string quoted = absl::StrCat("\"", absl::Utf8SafeCHexEscape(shown), "\"");
  if (shown.size() < text.size()) absl::StrAppend(&quoted, "... (", text.size(), " bytes)");
  return quoted;
}

void Violations::Add(std::string field, std::string description) {
  if (!HasRoom()) {
    ++not_kept_;
    return;
  }
  kept_.push_back({std::move(field), std::move(description)});
}

bool Violations::CheckRange(std::string field, int64_t value, int64_t min, int64_t max,
                            absl::string_view note) {
  if (value >= min && value <= max) return true;
  Add(std::move(field), absl::StrCat("must be between ", min, " and ", max, note, ", got ", value));
  return false;
}

bool Violations::CheckRange(std::string field, double value, double min, double max, bool above_min,
                            absl::string_view note) {
  if (std::isfinite(value) && value <= max && (above_min ? value > min : value >= min)) return true;
  if (std::isinf(max)) {
    Add(std::move(field),
        absl::StrCat("must be a finite number ", above_min ? "above " : "of at least ", min, note,
                     ", got ", value));
  } else if (above_min) {
    Add(std::move(field),
        absl::StrCat("must be above ", min, " and at most ", max, note, ", got ", value));
  } else {
    Add(std::move(field),
        absl::StrCat("must be between ", min, " and ", max, note, ", got ", value));
  }
  return false;
}

bool Violations::CheckName(std::string field, absl::string_view name) {
  if (name.size() <= kMaxNameBytes) return true;
  Add(std::move(field),
      absl::StrCat("must be at most ", kMaxNameBytes, " bytes long, got ", Quoted(name)));
  return false;
}

void Violations::CheckNoUnknownFields(const google::protobuf::Message& message,
                                      const std::string& path) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const google::protobuf::UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count() && HasRoom(); ++i) {
    const int number = unknown.field(i).number();
    Add(Joined(path, absl::StrCat("#", number)),
        absl::StrCat("must not be set: this server knows no field number ", number, " in ",
                     message.GetDescriptor()->full_name()));
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string name = Joined(path, field->name());
    if (!field->is_repeated()) {
      CheckNoUnknownFields(reflection.GetMessage(message, field), name);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field) && HasRoom(); ++i) {
      CheckNoUnknownFields(reflection.GetRepeatedMessage(message, field, i),
                           absl::StrCat(name, "[", i, "]"));
    }
  }
}

absl::Status Violations::ToStatus() const {
  std::vector<FieldViolation> violations = kept_;
  if (not_kept_ > 0) {
    absl::StrAppend(&violations.back().description, " (and ", not_kept_, " more violations)");
  }
  return InvalidArgumentWithViolations(violations);
}

}  // namespace skipstream
