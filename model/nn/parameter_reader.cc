#include "model/nn/parameter_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "ATen/ops/from_blob.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/aligned_buffer.h"
#include "base/quoted_name.h"
#include "c10/core/MemoryFormat.h"
#include "c10/util/accumulate.h"
#include "c10/util/strides.h"

namespace skipstream {
namespace {

// Read, checked and rearranged while it is in the cache.
constexpr int64_t kPieceElements = 1 << 16;

std::string ShapeText(const ParameterSource::Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Large ones are not from the heap: what is taken from it and given back while a network is built
// leaves holes among what stays, a third of a large network's size in all.
at::Tensor Empty(const ParameterSource::Shape& shape, at::IntArrayRef strides) {
  const auto buffer = std::make_shared<cpu::AlignedBuffer<float>>(c10::multiply_integers(shape));
  return at::from_blob(buffer->data(), shape, strides, [buffer](void*) {}, at::kFloat);
}

// Without a branch per element, so that it compiles to vector instructions.
bool AllFinite(absl::Span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000;
  uint32_t bad = 0;
  for (const float value : values) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    bad |= static_cast<uint32_t>((bits & kExponent) == kExponent);
  }
  return bad == 0;
}

// One output channel of a convolution: [in, taps] -> [taps, in].
void ChannelsLast(const float* from, int64_t in, int64_t taps, float* to) {
  for (int64_t t = 0; t < taps; ++t) {
    for (int64_t i = 0; i < in; ++i) to[t * in + i] = from[i * taps + t];
  }
}

}  // namespace

ParameterReader::ParameterReader(const SafetensorsFile& file, std::string prefix)
    : file_(file), prefix_(std::move(prefix)) {}

void ParameterReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

const SafetensorsEntry* ParameterReader::Find(const std::string& name, const Shape& shape) {
  if (!status_.ok()) return nullptr;
  const std::string full_name = prefix_ + name;
  const auto it = file_.tensors().find(full_name);
  if (it == file_.tensors().end()) {
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(full_name), " is missing")));
    return nullptr;
  }
  const SafetensorsEntry& entry = it->second;
  if (entry.dtype != "F32") {
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(full_name), " has dtype ",
                                                 entry.dtype, ", must be F32")));
    return nullptr;
  }
  if (entry.shape != shape) {
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(full_name), " has shape ",
                                                 ShapeText(entry.shape), ", must be ",
                                                 ShapeText(shape))));
    return nullptr;
  }
  taken_.insert(full_name);
  return &entry;
}

bool ParameterReader::Read(const std::string& name, const SafetensorsEntry& entry, uint64_t first,
                           absl::Span<float> out) {
  absl::Status status = file_.ReadPart(
      entry, first * sizeof(float),
      absl::MakeSpan(reinterpret_cast<char*>(out.data()), out.size() * sizeof(float)));
  if (status.ok() && !AllFinite(out)) {
    status = absl::InvalidArgumentError(
        absl::StrCat("tensor ", QuotedName(prefix_ + name), " holds a value that is not finite"));
  }
  if (status.ok()) return true;
  Fail(std::move(status));
  return false;
}

at::Tensor ParameterReader::ReadWhole(const std::string& name, const Shape& shape) {
  const SafetensorsEntry* entry = Find(name, shape);
  if (entry == nullptr) return {};
  at::Tensor tensor = Empty(shape, c10::contiguous_strides(shape));
  float* data = tensor.mutable_data_ptr<float>();
  for (int64_t first = 0; first < tensor.numel(); first += kPieceElements) {
    const int64_t count = std::min(kPieceElements, tensor.numel() - first);
    if (!Read(name, *entry, first, absl::MakeSpan(data + first, count))) return {};
  }
  return tensor;
}

at::Tensor ParameterReader::ReadChannelsLast(const std::string& name, const Shape& shape) {
  const int64_t in = shape[1];
  const int64_t taps = shape[2] * shape[3];
  if (taps == 1) return ReadWhole(name, shape);  // the same order
  const SafetensorsEntry* entry = Find(name, shape);
  if (entry == nullptr) return {};
  at::Tensor tensor = Empty(shape, c10::get_channels_last_strides_2d(shape));
  float* data = tensor.mutable_data_ptr<float>();
  const int64_t row = in * taps;
  const int64_t rows_per_piece = std::max<int64_t>(1, kPieceElements / row);
  std::vector<float> piece(std::min(rows_per_piece, shape[0]) * row);
  for (int64_t first = 0; first < shape[0]; first += rows_per_piece) {
    const int64_t rows = std::min(rows_per_piece, shape[0] - first);
    if (!Read(name, *entry, first * row, absl::MakeSpan(piece.data(), rows * row))) return {};
    for (int64_t r = 0; r < rows; ++r) {
      ChannelsLast(piece.data() + r * row, in, taps, data + (first + r) * row);
    }
  }
  return tensor;
}

at::Tensor ParameterReader::Counted(at::Tensor tensor) {
  if (tensor.defined()) parameter_count_ += tensor.numel();
  return tensor;
}

at::Tensor ParameterReader::Take(const std::string& name, const Shape& shape) {
  return Counted(ReadWhole(name, shape));
}

at::Tensor ParameterReader::TakeKernel(const std::string& name, const Shape& shape) {
  return Counted(ReadChannelsLast(name, shape));
}

at::Tensor ParameterReader::TakeBuffer(const std::string& name, const Shape& shape) {
  return ReadWhole(name, shape);
}

void ParameterReader::CheckBuffer(const std::string& name, const Shape& shape,
                                  absl::Span<const double> values, double tolerance) {
  if (!status_.ok() || file_.tensors().count(prefix_ + name) == 0) return;
  const at::Tensor tensor = ReadWhole(name, shape);
  if (!tensor.defined()) return;
  const float* data = tensor.const_data_ptr<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(std::abs(data[i] - values[i]) <= tolerance * std::abs(values[i]))) {
      return Fail(absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(prefix_ + name),
                                                          " disagrees with the config: element ", i,
                                                          " must be ", values[i])));
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
