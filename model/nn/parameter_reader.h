// Reads the parameters of a model file, and finds those that no layer took.
#ifndef SKIPSTREAM_MODEL_NN_PARAMETER_READER_H_
#define SKIPSTREAM_MODEL_NN_PARAMETER_READER_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "model/files/safetensors.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

// Implements ParameterSource; every error names the tensor. Memory is taken only for tensors whose
// shape the file confirms, and once: a tensor stored in another layout is rearranged piece by piece
// as it is read.
class ParameterReader final : public ParameterSource {
 public:
  // `file` outlives this. Only tensors whose name begins with `prefix` count, and they are asked
  // for without it.
  ParameterReader(const SafetensorsFile& file, std::string prefix);

  at::Tensor Take(const std::string& name, const Shape& shape) override;
  at::Tensor TakeKernel(const std::string& name, const Shape& shape) override;
  at::Tensor TakeBuffer(const std::string& name, const Shape& shape) override;
  void CheckBuffer(const std::string& name, const Shape& shape, absl::Span<const double> values,
                   double tolerance) override;
  void Fail(absl::Status status) override;

  // Returns the elements of all parameters handed out so far.
  int64_t parameter_count() const { return parameter_count_; }

  // Returns the first error, or an error that names a tensor that was not taken.
  absl::Status Finish() const;

 private:
  // Returns null, with a sticky error, unless the file has the tensor in the required form.
  const SafetensorsEntry* Find(const std::string& name, const Shape& shape);
  // Reads elements [first, first + out.size()) of the tensor, all finite; false with a sticky
  // error.
  bool Read(const std::string& name, const SafetensorsEntry& entry, uint64_t first,
            absl::Span<float> out);
  at::Tensor ReadWhole(const std::string& name, const Shape& shape);
  at::Tensor ReadChannelsLast(const std::string& name, const Shape& shape);
  at::Tensor Counted(at::Tensor tensor);

  const SafetensorsFile& file_;
  std::string prefix_;
  absl::Status status_;
  std::set<std::string> taken_;
  int64_t parameter_count_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NN_PARAMETER_READER_H_
