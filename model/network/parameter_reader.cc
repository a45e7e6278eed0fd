#include "model/network/parameter_reader.h"

#include <cmath>
#include <utility>

#include "ATen/ops/empty.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/network/quoted_name.h"

namespace skipstream {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace

ParameterReader::ParameterReader(const SafetensorsFile& file, std::string prefix)
    : file_(file), prefix_(std::move(prefix)) {}

void ParameterReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

at::Tensor ParameterReader::Read(const std::string& name, const std::vector<int64_t>& shape) {
  const std::string full_name = prefix_ + name;
  const auto it = file_.tensors().find(full_name);
  if (it == file_.tensors().end()) {
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(full_name), " is missing")));
    return {};
  }
  const SafetensorsEntry& entry = it->second;
  if (entry.dtype != "F32") {
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(full_name), " has dtype ",
                                                 entry.dtype, ", must be F32")));
    return {};
  }
  if (entry.shape != shape) {
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(full_name), " has shape ",
                                                 ShapeText(entry.shape), ", must be ",
                                                 ShapeText(shape))));
    return {};
  }
  taken_.insert(full_name);
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* data = tensor.mutable_data_ptr<float>();
  if (absl::Status status =
          file_.Read(entry, absl::MakeSpan(reinterpret_cast<char*>(data), entry.bytes));
      !status.ok()) {
    Fail(std::move(status));
    return {};
  }
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    if (!std::isfinite(data[i])) {
      Fail(absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(full_name), " holds a value that is not finite")));
      return {};
    }
  }
  return tensor;
}

at::Tensor ParameterReader::Take(const std::string& name, const std::vector<int64_t>& shape) {
  if (!status_.ok()) return {};
  at::Tensor tensor = Read(name, shape);
  if (tensor.defined()) parameter_count_ += tensor.numel();
  return tensor;
}

void ParameterReader::CheckConstant(const std::string& name, const std::vector<int64_t>& shape,
                                    float value) {
  if (!status_.ok() || file_.tensors().count(prefix_ + name) == 0) return;
  const at::Tensor tensor = Read(name, shape);
  if (!tensor.defined()) return;
  const float* data = tensor.const_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    if (data[i] != value) {
      Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(prefix_ + name),
                                                   " disagrees with the config: must be all ",
                                                   value)));
      return;
    }
  }
}

absl::Status ParameterReader::Finish() const {
  if (!status_.ok()) return status_;
  for (const auto& [name, entry] : file_.tensors()) {
    if (absl::StartsWith(name, prefix_) && taken_.count(name) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(name), " is not used by the network"));
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstream
