// A source of parameters that has none: it writes down what a network asks for, and takes no
// memory.
#ifndef SKIPSTREAM_TESTS_MODEL_NETWORK_SHAPE_RECORDER_H_
#define SKIPSTREAM_TESTS_MODEL_NETWORK_SHAPE_RECORDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "model/network/parameter_source.h"

namespace skipstream {

class ShapeRecorder final : public ParameterSource {
 public:
  at::Tensor Take(const std::string& name, const Shape& shape) override {
    parameter_count_ += Elements(shape);
    return TakeBuffer(name, shape);
  }
  at::Tensor TakeKernel(const std::string& name, const Shape& shape) override {
    return Take(name, shape);
  }
  at::Tensor TakeBuffer(const std::string& name, const Shape& shape) override {
    shapes_[name] = shape;
    return {};
  }
  void CheckBuffer(const std::string& /*name*/, const Shape& /*shape*/,
                   absl::Span<const double> /*values*/, double /*tolerance*/) override {}
  void Fail(absl::Status status) override {
    if (status_.ok()) status_ = std::move(status);
  }

  const absl::Status& status() const { return status_; }
  const std::map<std::string, Shape>& shapes() const { return shapes_; }
  int64_t parameter_count() const { return parameter_count_; }

  static int64_t Elements(const Shape& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  }

 private:
  absl::Status status_;
  std::map<std::string, Shape> shapes_;
  int64_t parameter_count_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_NETWORK_SHAPE_RECORDER_H_
