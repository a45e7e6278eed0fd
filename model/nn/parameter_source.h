// Gives a network its parameters while it is built: layers ask for them by name and shape.
#ifndef SKIPSTREAM_MODEL_NN_PARAMETER_SOURCE_H_
#define SKIPSTREAM_MODEL_NN_PARAMETER_SOURCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace skipstream {

// Hands out tensors. The first error sticks; from then on, or in a source that has no values at
// all, the tensors handed out are undefined. So a layer does not use the values while it is built,
// unless it checks `defined()`. A network is built in one go, and its source is then asked once for
// errors.
class ParameterSource {
 public:
  using Shape = std::vector<int64_t>;

  virtual ~ParameterSource() = default;

  // Returns a trained float32 tensor of exactly this shape, contiguous and all of it finite.
  virtual at::Tensor Take(const std::string& name, const Shape& shape) = 0;
  // Does the same for the weight of a convolution [out, in, kernel, kernel], in channels-last
  // memory.
  virtual at::Tensor TakeKernel(const std::string& name, const Shape& shape) = 0;
  // Does the same for values the network needs that were not trained; they do not count as
  // parameters.
  virtual at::Tensor TakeBuffer(const std::string& name, const Shape& shape) = 0;

  // Checks a constant buffer that some writers store along. It may be absent; else each element
  // must be the given one within `tolerance`, relative.
  virtual void CheckBuffer(const std::string& name, const Shape& shape,
                           absl::Span<const double> values, double tolerance) = 0;

  // Reports an error that the network itself finds.
  virtual void Fail(absl::Status status) = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NN_PARAMETER_SOURCE_H_
