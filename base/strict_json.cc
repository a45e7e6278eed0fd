#include "base/strict_json.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/quoted_name.h"
#include "nlohmann/json.hpp"

namespace skipstream {
namespace {

constexpr int kMaxDepth = 8;

bool ReadNumber(const nlohmann::json& json, double min, double max, double* value) {
  if (!json.is_number()) return false;
  const double number = json.get<double>();
  if (!(number >= min && number <= max)) return false;
  *value = number;
  return true;
}

bool ReadInteger(const nlohmann::json& json, int64_t min, int64_t max, int* value) {
  if (!json.is_number_integer()) return false;
  if (json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return false;
  }
  const int64_t number = json.get<int64_t>();
  if (number < min || number > max) return false;
  *value = static_cast<int>(number);
  return true;
}

std::string Range(const char* kind, double min, double max) {
  return absl::StrCat("must be ", kind, " from ", min, " to ", max);
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseStrictJson(const std::string& text, const std::string& what,
                                               size_t max_bytes) {
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": longer than the limit of ", max_bytes, " bytes"));
  }
  std::string problem;
  std::vector<std::set<std::string>> keys;  // of the objects being read, outermost first
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (!problem.empty()) return false;
    if (depth >= kMaxDepth) {
      problem = absl::StrCat("nested deeper than ", kMaxDepth);
      return false;
    }
    if (event == Event::object_start) {
      keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      problem = absl::StrCat("duplicate key ", QuotedName(value.get<std::string>()));
      return false;
    }
    return true;
  };
  nlohmann::json json =
      nlohmann::json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (problem.empty() && json.is_discarded()) problem = "not valid JSON";
  if (!problem.empty()) return absl::InvalidArgumentError(absl::StrCat(what, ": ", problem));
  return json;
}

FieldReader::FieldReader(const nlohmann::json& object, std::string what)
    : object_(object), what_(std::move(what)) {
  if (!object.is_object()) {
    status_ = absl::InvalidArgumentError(absl::StrCat(what_, ": must be a JSON object"));
  }
}

bool FieldReader::Has(const std::string& key) const {
  return object_.is_object() && object_.contains(key);
}

const nlohmann::json* FieldReader::Raw(const std::string& key) {
  if (!status_.ok()) return nullptr;
  read_.insert(key);
  const auto it = object_.find(key);
  return it == object_.end() ? nullptr : &*it;
}

void FieldReader::Integer(const std::string& key, int64_t min, int64_t max, int* value) {
  const nlohmann::json* json = Raw(key);
  if (json != nullptr && !ReadInteger(*json, min, max, value)) {
    Fail(key, Range("an integer", static_cast<double>(min), static_cast<double>(max)));
  }
}

void FieldReader::Number(const std::string& key, double min, double max, double* value) {
  const nlohmann::json* json = Raw(key);
  if (json != nullptr && !ReadNumber(*json, min, max, value)) {
    Fail(key, Range("a number", min, max));
  }
}

void FieldReader::Boolean(const std::string& key, bool* value) {
  const nlohmann::json* json = Raw(key);
  if (json == nullptr) return;
  if (!json->is_boolean()) return Fail(key, "must be true or false");
  *value = json->get<bool>();
}

void FieldReader::String(const std::string& key, std::string* value) {
  const nlohmann::json* json = Raw(key);
  if (json == nullptr) return;
  if (!json->is_string()) return Fail(key, "must be a string");
  *value = json->get<std::string>();
}

void FieldReader::Integers(const std::string& key, int64_t min, int64_t max, size_t max_count,
                           std::vector<int>* value) {
  const nlohmann::json* json = Raw(key);
  if (json == nullptr) return;
  if (!json->is_array() || json->size() > max_count) {
    return Fail(key, absl::StrCat("must be a list of at most ", max_count, " integers"));
  }
  value->assign(json->size(), 0);
  for (size_t i = 0; i < json->size(); ++i) {
    if (!ReadInteger((*json)[i], min, max, &(*value)[i])) {
      return Fail(absl::StrCat(key, "[", i, "]"),
                  Range("an integer", static_cast<double>(min), static_cast<double>(max)));
    }
  }
}

void FieldReader::Numbers(const std::string& key, double min, double max, size_t max_count,
                          std::vector<double>* value) {
  const nlohmann::json* json = Raw(key);
  if (json == nullptr) return;
  if (!json->is_array() || json->size() > max_count) {
    return Fail(key, absl::StrCat("must be a list of at most ", max_count, " numbers"));
  }
  value->assign(json->size(), 0.0);
  for (size_t i = 0; i < json->size(); ++i) {
    if (!ReadNumber((*json)[i], min, max, &(*value)[i])) {
      return Fail(absl::StrCat(key, "[", i, "]"), Range("a number", min, max));
    }
  }
}

void FieldReader::Require(const std::string& key) {
  if (status_.ok() && !Has(key)) Fail(key, "is missing");
}

void FieldReader::Fail(const std::string& key, const std::string& message) {
  Fail(absl::InvalidArgumentError(absl::StrCat(what_, ": '", key, "' ", message)));
}

void FieldReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

absl::Status FieldReader::Finish() {
  if (!status_.ok()) return status_;
  for (const auto& [key, value] : object_.items()) {
    if (read_.count(key) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(what_, ": unknown key ", QuotedName(key)));
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstream
