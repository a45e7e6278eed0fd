// Hands out the parameters of a model file by name and shape, and knows at the end which ones
// nobody asked for.
#ifndef SKIPSTREAM_MODEL_NETWORK_PARAMETER_READER_H_
#define SKIPSTREAM_MODEL_NETWORK_PARAMETER_READER_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "model/network/safetensors.h"

namespace skipstream {

// The first error sticks and names the tensor; later calls return undefined tensors. A network is
// built in one go and the reader asked once, with Finish(). Memory is taken only for tensors whose
// shape the file confirms.
class ParameterReader {
 public:
  // `file` outlives the reader. Only tensors whose name begins with `prefix` count, and they are
  // asked for without it.
  ParameterReader(const SafetensorsFile& file, std::string prefix);

  // A float32 tensor of exactly this shape, all of it finite.
  at::Tensor Take(const std::string& name, const std::vector<int64_t>& shape);

  // A constant buffer some writers store along: may be absent; else every element must be `value`.
  void CheckConstant(const std::string& name, const std::vector<int64_t>& shape, float value);

  void Fail(absl::Status status);

  // Elements handed out so far.
  int64_t parameter_count() const { return parameter_count_; }

  // The first error; or an error naming a tensor nobody took.
  absl::Status Finish() const;

 private:
  at::Tensor Read(const std::string& name, const std::vector<int64_t>& shape);

  const SafetensorsFile& file_;
  std::string prefix_;
  absl::Status status_;
  std::set<std::string> taken_;
  int64_t parameter_count_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_PARAMETER_READER_H_
