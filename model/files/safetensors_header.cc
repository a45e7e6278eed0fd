#include "model/files/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/quoted_name.h"
#include "nlohmann/json.hpp"

namespace skipstream {
namespace {

constexpr size_t kMaxRank = 8;

// Bytes per element; 0 if the format has no such type.
uint64_t DtypeBytes(const std::string& dtype) {
  static const auto* const kBytes = new absl::flat_hash_map<std::string, uint64_t>{
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
      {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
  const auto it = kBytes->find(dtype);
  return it == kBytes->end() ? 0 : it->second;
}

// Builds the header while the text is read, and stops at the first thing that is not of the form
//   {"__metadata__": {string: string}, name: {"dtype": string, "shape": [...],
//    "data_offsets": [begin, end]}, ...}
// so that no more is ever held than what the form allows.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader header;
  absl::Status status;

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::kOutside:
        place_ = Place::kTop;
        return true;
      case Place::kTopValue:
        if (name_ == "__metadata__") {
          place_ = Place::kMetadata;
        } else {
          entry_ = SafetensorsEntry{};
          seen_ = 0;
          place_ = Place::kTensor;
        }
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      for (int field = 0; field < 3; ++field) {
        if ((seen_ & (1 << field)) == 0) {
          return Fail(absl::StrCat("tensor ", QuotedName(name_), ": field '", kFields[field],
                                   "' is missing"));
        }
      }
      header.tensors[name_] = std::move(entry_);
      place_ = Place::kTop;
    } else if (place_ == Place::kMetadata) {
      place_ = Place::kTop;
    } else {
      place_ = Place::kOutside;
    }
    return true;
  }

  bool key(std::string& key) override {
    switch (place_) {
      case Place::kTop:
        if (header.tensors.count(key) != 0 || (key == "__metadata__" && saw_metadata_)) {
          return Fail(absl::StrCat("duplicate key ", QuotedName(key)));
        }
        saw_metadata_ = saw_metadata_ || key == "__metadata__";
        name_ = key;
        place_ = Place::kTopValue;
        return true;
      case Place::kMetadata:
        if (header.metadata.count(key) != 0) {
          return Fail(absl::StrCat("__metadata__: duplicate key ", QuotedName(key)));
        }
        metadata_key_ = key;
        return true;
      default: {  // Place::kTensor: keys come nowhere else
        const auto* field = std::find(std::begin(kFields), std::end(kFields), key);
        if (field == std::end(kFields)) {
          return Fail(
              absl::StrCat("tensor ", QuotedName(name_), ": unknown field ", QuotedName(key)));
        }
        field_ = static_cast<int>(field - std::begin(kFields));
        if ((seen_ & (1 << field_)) != 0) {
          return Fail(
              absl::StrCat("tensor ", QuotedName(name_), ": duplicate field ", QuotedName(key)));
        }
        seen_ |= 1 << field_;
        return true;
      }
    }
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && field_ == kShape) {
      place_ = Place::kShapeList;
    } else if (place_ == Place::kTensor && field_ == kOffsets) {
      place_ = Place::kOffsetList;
      offsets_.clear();
    } else {
      return Unexpected("a list");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsetList) {
      if (offsets_.size() != 2 || offsets_[0] > offsets_[1]) {
        return Fail(absl::StrCat("tensor ", QuotedName(name_),
                                 ": data_offsets must be [begin, end] with begin <= end"));
      }
      entry_.offset = offsets_[0];
      entry_.bytes = offsets_[1] - offsets_[0];
    }
    place_ = Place::kTensor;
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) {
      header.metadata[metadata_key_] = std::move(value);
      return true;
    }
    if (place_ == Place::kTensor && field_ == kDtype) {
      entry_.dtype = value;
      return true;
    }
    return Unexpected("a string");
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShapeList) {
      if (entry_.shape.size() == kMaxRank) {
        return Fail(absl::StrCat("tensor ", QuotedName(name_), ": shape has more than ", kMaxRank,
                                 " dimensions"));
      }
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Fail(absl::StrCat("tensor ", QuotedName(name_), ": shape overflows"));
      }
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsetList) {
      if (offsets_.size() < 3) offsets_.push_back(value);
      return true;
    }
    return Unexpected("a number");
  }

  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const std::string&) override {
    return Unexpected("a number that is not a 64-bit integer");
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("not valid JSON at byte ", position));
  }

 private:
  enum class Place {
    kOutside,
    kTop,
    kTopValue,
    kMetadata,
    kTensor,
    kShapeList,
    kOffsetList,
  };
  static constexpr const char* kFields[] = {"dtype", "shape", "data_offsets"};
  enum Field { kDtype = 0, kShape = 1, kOffsets = 2 };

  bool Fail(std::string message) {
    status = absl::InvalidArgumentError(absl::StrCat("header: ", message));
    return false;
  }

  bool Unexpected(const char* what) {
    switch (place_) {
      case Place::kOutside:
        return Fail(absl::StrCat("must be an object, not ", what));
      case Place::kMetadata:
        return Fail(absl::StrCat("__metadata__ ", QuotedName(metadata_key_), " is ", what,
                                 ", not a string"));
      case Place::kTopValue:
      case Place::kTop:
        return Fail(absl::StrCat(QuotedName(name_), " is ", what, ", not an object"));
      default:
        return Fail(
            absl::StrCat("tensor ", QuotedName(name_), ": ", kFields[field_], " holds ", what));
    }
  }

  Place place_ = Place::kOutside;
  bool saw_metadata_ = false;
  std::string name_;
  std::string metadata_key_;
  SafetensorsEntry entry_;
  std::vector<uint64_t> offsets_;
  int field_ = 0;
  int seen_ = 0;  // bit per field
};

absl::Status CheckBytes(const std::string& name, const SafetensorsEntry& entry) {
  const uint64_t element = DtypeBytes(entry.dtype);
  if (element == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", QuotedName(name), ": unknown dtype ", QuotedName(entry.dtype)));
  }
  uint64_t bytes = element;
  for (int64_t dim : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(name), ": shape overflows"));
    }
  }
  if (bytes != entry.bytes) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(name), ": shape needs ",
                                                   bytes, " bytes, data_offsets span ",
                                                   entry.bytes));
  }
  return absl::OkStatus();
}

// The tensors, ordered by offset, must lie back to back from 0 to `data_bytes`.
absl::Status CheckLayout(const std::map<std::string, SafetensorsEntry>& tensors,
                         uint64_t data_bytes) {
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  order.reserve(tensors.size());
  for (const auto& item : tensors) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.offset, a->second.bytes) <
           std::pair(b->second.offset, b->second.bytes);
  });
  uint64_t next = 0;
  for (const auto* item : order) {
    const auto& [name, entry] = *item;
    if (entry.offset > data_bytes || entry.bytes > data_bytes - entry.offset) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(name), ": data_offsets reach beyond the file"));
    }
    if (entry.offset != next) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(name), ": data_offsets ",
                       entry.offset < next ? "overlap another tensor" : "leave a hole before it"));
    }
    next = entry.offset + entry.bytes;
  }
  if (next != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(data_bytes - next, " bytes after the last tensor belong to no tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json,
                                                         uint64_t data_bytes) {
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) return handler.status;
  for (const auto& [name, entry] : handler.header.tensors) {
    if (absl::Status status = CheckBytes(name, entry); !status.ok()) return status;
  }
  if (absl::Status status = CheckLayout(handler.header.tensors, data_bytes); !status.ok()) {
    return status;
  }
  return std::move(handler.header);
}

}  // namespace skipstream
